"""packet and link: frames are authenticated, fresh, small; hostile ones are counted."""

from qres import packet, telemetry
from qres.link import Link
from qres.model import Model
from support import below, noise, raises, xorshift

KEY = bytes(range(32))
MAC_A, MAC_B = b"\x02\x00\x00\x00\x00\x0a", b"\x02\x00\x00\x00\x11\x55"


def pair():
    a, b = Link(KEY, 4), Link(KEY, 4)
    a.start(MAC_A, 3, False)
    b.start(MAC_B, 9, False)
    return a, b


def test_seal_parse_verify():
    frame = packet.seal(KEY, packet.DATA, 0x3ABCDEF0, 7, 0x123456, b"hello")
    assert len(frame) == 10 + 5 + 8
    assert packet.parse(frame) == (packet.DATA, 0x3ABCDEF0, 7, 0x123456, b"hello")
    assert packet.verify(KEY, frame) and not packet.verify(bytes(32), frame)
    raises(packet.PacketError, packet.seal, KEY, packet.DATA, 1, 1, 1, bytes(233))
    assert len(packet.seal(KEY, packet.DATA, 1, 1, 1, bytes(232))) == packet.FRAME_MAX


def test_every_bit_flip_is_refused():
    a, b = pair()
    frame = a.seal(packet.ALERT, packet.pack_alert(2, 40000, 5))
    for i in range(len(frame) * 8):
        bad = bytearray(frame)
        bad[i >> 3] ^= 1 << (i & 7)
        assert b.open(bytes(bad), 0) is None
    assert b.rejected == len(frame) * 8 and b.heard == 0
    assert b.open(frame, 0) == (packet.ALERT, packet.node_id(MAC_A), packet.pack_alert(2, 40000, 5))


def test_replays_are_refused_late_frames_are_not():
    a, b = pair()
    frames = [a.seal(packet.PULL, b"") for _ in range(40)]
    assert b.open(frames[20], 0)
    assert b.open(frames[20], 0) is None
    assert b.open(frames[10], 0) and b.open(frames[5], 0)  # late, within the window
    assert b.open(frames[10], 0) is None
    assert b.open(frames[39], 0)
    b.seen.frames = []  # after deep sleep only the windows are left
    for i in (5, 10, 20, 39, 11, 0):
        assert b.open(frames[i], 0) is None, i
    assert b.open(frames[30], 0)
    a.start(MAC_A, 4, False)  # a new session
    fresh = a.seal(packet.PULL, b"")
    assert b.open(fresh, 0) and b.open(fresh, 0) is None
    assert b.open(frames[38], 0) is None  # of the old session


def test_windows_survive_a_snapshot():
    from qres.snapshot import Reader, Writer

    a, b = pair()
    frame = a.seal(packet.PULL, b"")
    assert b.open(frame, 5)
    out = Writer()
    out.fields(b)
    again = Link(KEY, 4)
    Reader(out.finish()).fields(again)
    assert again.open(frame, 6) is None and again.counter == b.counter and again.session == 9


def test_own_frames_and_strangers():
    a, b = pair()
    assert a.open(a.seal(packet.PULL, b""), 0) is None and a.rejected == 0
    stranger = Link(bytes(32), 4)
    stranger.start(MAC_A, 1, False)
    assert b.open(stranger.seal(packet.PULL, b""), 0) is None and b.rejected == 1


def test_the_table_of_peers_is_bounded():
    b = pair()[1]
    for i in range(9):
        x = Link(KEY, 4)
        x.start(bytes([2, 0, 0, 0, 1, i]), 1, False)
        assert b.open(x.seal(packet.PULL, b""), i)
    assert sorted(b.peers.peers) == [packet.node_id(bytes([2, 0, 0, 0, 1, i])) for i in (5, 6, 7, 8)]


def test_counter_overflow_moves_to_the_next_session():
    a, b = pair()
    a.counter = packet.COUNTER_MAX
    assert b.open(a.seal(packet.PULL, b""), 0)
    assert a.session == 4 and a.counter == 1


def test_payloads_round_trip():
    u = packet.Update(15706, b"\x01\x02\x03\x04", 30000, 999, b"c" * 8, b"delta")
    back = packet.unpack_update(u.pack(0xBEEF), 0xBEEF)
    assert (back.epoch, back.base, back.residual, back.accuracy) == (15706, b"\x01\x02\x03\x04", 30000, 999)
    assert (back.commitment, back.delta) == (b"c" * 8, b"delta")
    raises(packet.PacketError, packet.unpack_update, u.pack(0xBEEF), 0xBEE0)
    m = Model(2, 4, [5] * 10)
    a = packet.Announcement(1357000000123, 0, 15706, 300, 2, 4, m.packed)
    b = packet.unpack_model(a.pack(77))
    assert (b.time_ms, b.stratum, b.epoch, b.inputs, b.packed) == (1357000000123, 0, 15706, 255, m.packed)
    assert packet.model_key(a.pack(77)) == 77
    assert packet.unpack_alert(packet.pack_alert(1, 65536, 9)) == (1, 65535, 9)


def test_any_bytes_parse_or_raise_packet_error():
    source = xorshift(77)
    for size in range(260):
        data = noise(source, size)
        for read in (packet.parse, packet.unpack_model, packet.unpack_alert, telemetry.unpack):
            try:
                read(data)
            except packet.PacketError:
                pass
        try:
            packet.unpack_update(data, below(source, 65536))
        except packet.PacketError:
            pass


def test_telemetry_round_trip():
    values = {}
    for i, (name, kind) in enumerate(telemetry.FIELDS):
        values[name] = i * 12345 if kind == "uint" else bytes(range(int(kind[5:])))
    assert telemetry.unpack(telemetry.pack(values)) == values
    raises(packet.PacketError, telemetry.unpack, telemetry.pack(values) + b"\x00")
