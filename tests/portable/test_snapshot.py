"""snapshot: blobs that are checked, files that survive a power cut at any byte."""

from qres.snapshot import Reader, Slots, SnapshotError, Writer
from support import below, noise, raises, xorshift


class Storage:
    """Two files; a write may be cut after `cut` bytes, as a power failure would, leaving a torn file."""

    def __init__(self):
        self.files = {}
        self.cut = -1

    def read(self, name):
        return self.files.get(name)

    def write(self, name, data):
        if self.cut >= 0:
            self.files[name] = bytes(data[: self.cut])
            raise OSError("power cut")
        self.files[name] = bytes(data)


class Thing:
    STATE = "u:a i:b a:c v:d b:e t:f q:g"

    def __init__(self):
        self.a, self.b, self.c, self.d, self.e, self.f, self.g = 0, 0, [0, 0], [], b"", [], []


def full_thing():
    x = Thing()
    x.a, x.b, x.c, x.d, x.e = 1 << 60, -(1 << 50), [-5, 2147483647], [1, -1, 1 << 40], b"\x00\xff"
    x.f, x.g = [(1, -2), (3, 4)], [(-9, b"abc"), (0, b"")]
    return x


def blob_of(thing):
    out = Writer()
    out.fields(thing)
    return out.finish()


def test_fields_round_trip():
    blob = blob_of(full_thing())
    back = Thing()
    data = Reader(blob)
    data.fields(back)
    data.done()
    assert blob_of(back) == blob
    assert back.f == [(1, -2), (3, 4)] and back.b == -(1 << 50) and back.c == [-5, 2147483647]


def test_every_truncation_and_bit_flip_is_refused():
    blob = blob_of(full_thing())
    for n in range(len(blob)):
        raises(SnapshotError, Reader, blob[:n])
        for bit in range(8):
            bad = bytearray(blob)
            bad[n] ^= 1 << bit
            raises(SnapshotError, Reader, bytes(bad))


def test_other_shapes_and_hostile_bodies_raise_snapshot_error():
    from qres.compat import crc32

    class Other(Thing):
        STATE = "a:c"

    small = Other()
    small.c = [1, 2, 3]
    raises(SnapshotError, Reader(blob_of(small)).fields, Other())
    source = xorshift(9)
    for size in range(120):
        body = b"QS\x02" + noise(source, size)
        data = Reader(body + crc32(body).to_bytes(4, "little"))
        try:
            data.fields(Thing())
        except SnapshotError:
            pass


def test_a_power_cut_at_every_byte_leaves_the_last_whole_snapshot():
    for first in (b"one", b"o" * 70):
        for size in (5, 60):
            second = bytes([size]) * size
            for cut in range(size + 9):
                storage = Storage()
                slots = Slots(storage)
                slots.save(b"zero")
                slots.save(first)
                storage.cut = cut
                whole = cut >= size + 8
                try:
                    slots.save(second)
                except OSError:
                    pass
                storage.cut = -1
                again = Slots(storage)
                assert again.load() == (second if whole else first), (size, cut)
                again.save(b"after")
                assert Slots(storage).load() == b"after"


def test_slots_alternate_and_count_damage():
    storage = Storage()
    slots = Slots(storage)
    assert slots.load() is None
    for i in range(5):
        slots.save(bytes([i]))
    assert sorted(storage.files) == ["snapshot.0", "snapshot.1"]
    assert Slots(storage).load() == b"\x04"
    source = xorshift(4)
    storage.files["snapshot.1"] = noise(source, 3 + below(source, 30))
    again = Slots(storage)
    assert again.damaged == 1 and again.load() == b"\x03"
