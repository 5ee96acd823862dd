"""encoder and codec: every packet decodes to what went in, other bytes raise CodecError alone."""

from qres import codec
from qres.encoder import CM, HUFFMAN, RICE, Encoder
from qres.fixed import MAX32, MIN32
from qres.model import Model
from support import below, is_micropython, noise, raises, xorshift

try:
    from gc import mem_alloc
except ImportError:
    mem_alloc = None

LIMIT = 232


def walk(source, channels, steps, size, gaps):
    """A random walk of `channels`, steps of up to `size`; one value in `gaps` missing (0: none)."""
    v = [below(source, 20000) - 10000 for _ in range(channels)]
    rows = []
    for _ in range(steps):
        v = [min(max(x + below(source, 2 * size + 1) - size, MIN32), MAX32) for x in v]
        rows.append(tuple([None if gaps and below(source, gaps) == 0 else x for x in v]))
    return rows


def model_for(source, channels):
    values = []
    for _ in range(channels):
        values += [below(source, 100000) - 50000 for _ in range(4)] + [below(source, 50000)]
    return Model(channels, 4, values)


def fill(encoder, rows, index):
    """Add rows until the packet is full; how many went in."""
    n = 0
    while n < len(rows) and encoder.add(index + n, rows[n]):
        n += 1
    return n


def test_round_trip_of_all_states_coders_and_shapes():
    source = xorshift(21)
    for trial in range(24):
        channels = (1, 2, 6, 15)[trial & 3]
        rows = walk(source, channels, 300, (1, 30, 5000)[trial % 3], 0 if trial & 1 else 9)
        model = model_for(source, channels) if trial % 5 else None
        for coder in (RICE, HUFFMAN, CM):
            e = Encoder(channels, coder, LIMIT, model)
            n = fill(e, rows, 376000)
            assert n > 2
            data = e.finish(3600000, trial % 3)
            assert len(data) <= LIMIT and len(data) <= e.size_bytes()
            block = codec.decode(data, {model.hash: model} if model else {})
            assert block.steps == rows[:n] and block.index == 376000
            assert (block.period_ms, block.regime, block.channels) == (3600000, trial % 3, channels)
            assert block.model_hash == (model.hash if model else None)


def test_extremes():
    rows = [(MIN32, MAX32), (MAX32, MIN32), (0, 0), (MIN32, None), (None, None), (MAX32, 1)]
    for coder in (RICE, HUFFMAN, CM):
        for model in (None, Model(2, 4, [131071, -131071, 131071, -131071, 131071] * 2)):
            e = Encoder(2, coder, LIMIT, model)
            assert fill(e, rows, 0) == len(rows)
            block = codec.decode(e.finish(10, 0), {model.hash: model} if model else {})
            assert block.steps == rows and block.index == 0 and block.period_ms == 10


def test_a_step_that_does_not_follow_or_fit_changes_nothing():
    e = Encoder(1, RICE, 40, None)
    assert e.add(5, (1,)) and e.add(6, (2,))
    before = e.finish(1000, 0)
    assert not e.add(8, (3,)) and not e.add(6, (3,))
    assert e.finish(1000, 0) == before
    n = 7
    while e.add(n, (n * 7919 % 65521,)):
        n += 1
    full = e.finish(1000, 0)
    assert len(full) <= 40 and not e.add(n, (MAX32,)) and e.finish(1000, 0) == full


def test_one_packet_holds_at_most_255_steps():
    e = Encoder(1, RICE, LIMIT, None)
    assert fill(e, [(7,)] * 300, 0) == 255
    assert len(codec.decode(e.finish(1000, 0), {}).steps) == 255


def test_missing_model_names_the_model():
    model = Model(1, 4, [1000, 0, 0, 0, 4096])
    e = Encoder(1, RICE, LIMIT, model)
    e.add(0, (5,))
    error = raises(codec.MissingModel, codec.decode, e.finish(1000, 0), {})
    assert error.model_hash == model.hash


def test_a_model_that_fits_makes_packets_smaller():
    source = xorshift(5)
    rows = [(0, 0, 0)]
    d = [0, 0, 0]
    for _ in range(30):  # changes that turn back: weight minus one on the last change
        d = [min(max(below(source, 51) - 25 - v, -600), 600) for v in d]
        rows.append(tuple([x + v for x, v in zip(rows[-1], d)]))
    for coder in (RICE, CM):
        sizes = []
        for model in (None, Model(3, 1, [-65000, 4 * 4096] * 3)):
            e = Encoder(3, coder, 2000, model)
            assert fill(e, rows, 0) == len(rows)
            sizes.append(len(e.finish(1000, 0)))
        assert sizes[1] < sizes[0], sizes


def chain(coder, rows, limit, skip, modes=None):
    """Packets of `rows`, each from the checkpoint of the one before, and what they decode to; their bytes."""
    points, point, at, total = {}, None, 0, 0
    out = []
    while at < len(rows):
        e = Encoder(len(rows[0]), coder, limit, point, modes)
        n = fill(e, rows[at:], 1000 + at)
        point = e.checkpoint(77, 60000)
        data = e.finish(60000, 0, True)
        block = codec.decode(data, {}, points, 77)
        assert block.index == 1000 + at and block.period_ms == 60000 and block.kept
        assert block.after.packed == point.packed and block.after.name == point.name
        assert len(data) <= limit
        points = {point.name: point}
        out += block.steps
        total += len(data)
        at += n
        out += [None] * min(skip, len(rows) - at)  # samples that nobody sent
        at += skip
    return out, total


def test_a_chain_of_checkpoints_decodes_and_pays():
    source = xorshift(22)
    for trial in range(6):
        channels = (1, 2, 6)[trial % 3]
        rows = walk(source, channels, 500, (2, 30, 100000)[trial % 3], 30 if trial & 1 else 0)
        for coder in (RICE, HUFFMAN, CM):
            for skip in (0, 7):
                got, _ = chain(coder, rows, LIMIT, skip)
                assert [g for g in zip(got, rows) if g[0] is not None and g[0] != g[1]] == []
        cold = 0
        at = 0
        while at < len(rows):
            e = Encoder(channels, CM, LIMIT, None)
            at += fill(e, rows[at:], 1000 + at)
            cold += len(e.finish(60000, 0))
        assert chain(CM, rows, LIMIT, 0)[1] < cold


def test_an_unknown_checkpoint_is_named():
    e = Encoder(1, CM, LIMIT, None)
    fill(e, [(5,), (6,), (7,)], 0)
    point = e.checkpoint(77, 1000)
    e = Encoder(1, CM, LIMIT, point)
    fill(e, [(5,), (6,), (7,)], 3)
    data = e.finish(1000, 0)
    error = raises(codec.MissingModel, codec.decode, data, {})
    assert error.checkpoint and error.model_hash == point.name
    assert codec.decode(data, {}, {point.name: point}).steps == [(5,), (6,), (7,)]
    assert codec.Checkpoint(78, point.packed).name != point.name  # the same state of another node


def test_a_constant_signal_costs_next_to_nothing():
    for coder, most in ((RICE, 12), (HUFFMAN, 13), (CM, 9)):
        e = Encoder(1, coder, LIMIT, None)
        assert fill(e, [(21,)] * 300, 0) == 255
        data = e.finish(1000, 0)
        assert len(data) <= most, (coder, len(data))
        assert codec.decode(data, {}).steps == [(21,)] * 255


def test_bounded_and_silent_channels_stay_within_their_bounds():
    source = xorshift(9)
    rows = walk(source, 2, 300, 9, 20)
    exact = [0, 0, 0]
    for modes in (None, [(3, 0), (0, 0)], [(0, 12), (2, 25)], [(1000000, 0), (0, 5)]):
        for coder in (RICE, HUFFMAN, CM):
            got, total = chain(coder, rows, LIMIT, 0, modes)
            for row, back in zip(rows, got):
                for c in range(2):
                    assert (row[c] is None) == (back[c] is None)
                    if row[c] is not None:
                        eps, silent = modes[c] if modes else (0, 0)
                        assert abs(row[c] - back[c]) <= max(eps, silent + eps)
            if modes is None:
                exact[coder] = total
            else:
                assert total < exact[coder], (modes, coder)


def test_any_checkpoint_resumes_or_raises_codec_error():
    source = xorshift(77)
    e = Encoder(2, CM, LIMIT, None)
    fill(e, walk(source, 2, 60, 50, 20), 0)
    point = e.checkpoint(1, 1000)
    e = Encoder(2, CM, LIMIT, point)
    fill(e, walk(source, 2, 60, 50, 20), 60)
    data = bytearray(e.finish(1000, 0))
    for _ in range(200):
        packed = bytearray(point.packed)
        for _ in range(1 + below(source, 3)):
            packed[below(source, len(packed))] ^= 1 << below(source, 8)
        try:
            bad = codec.Checkpoint(1, bytes(packed[: below(source, len(packed) + 1)] if below(source, 2) else packed))
            data[3:7] = bad.name
            codec.decode(bytes(data), {}, {bad.name: bad}, 1)
        except ValueError:
            pass


def test_any_bytes_decode_or_raise_codec_error():
    source = xorshift(31)
    model = model_for(source, 2)
    models = {model.hash: model}
    for size in range(0, 200):
        try:
            codec.decode(noise(source, size), models)
        except codec.CodecError:
            pass
    for trial in range(600):
        if trial % 200 == 0:
            e = Encoder(2, trial // 200, LIMIT, model)
            fill(e, walk(source, 2, 300, 50, 20), 1000)
            good = e.finish(60000, 1)
        bad = bytearray(good)
        for _ in range(1 + below(source, 3)):
            bad[below(source, len(bad))] ^= 1 << below(source, 8)
        bad = bad[: below(source, len(bad) + 1)] if below(source, 2) else bad
        try:
            block = codec.decode(bytes(bad), models)
            assert len(block.steps) <= 255
        except codec.CodecError:
            pass


def test_truncations_are_refused():
    for coder in (RICE, HUFFMAN, CM):
        e = Encoder(1, coder, LIMIT, None)
        fill(e, walk(xorshift(2), 1, 90, 100, 0), 3)
        data = e.finish(60000, 0)
        raises(codec.CodecError, codec.decode, data + b"\x00", {})
        taken = 0
        for n in range(len(data)):
            try:
                codec.decode(data[:n], {})
                taken += 1
            except codec.CodecError:
                pass
        assert taken <= (1 if coder == CM else 0)  # an arithmetic code can happen to end there; the frame's tag tells


def test_a_step_of_a_packet_allocates_nothing():
    if not is_micropython:
        return None

    def measure():
        for coder in (RICE, HUFFMAN, CM):
            for modes in (None, [(1, 0), (0, 3), (0, 0)]):
                rows = walk(xorshift(3), 3, 60, 30, 20)
                e = Encoder(3, coder, 5000, None, modes)
                fill(e, rows[:10], 0)
                rest = rows[10:]
                before = mem_alloc()
                fill(e, rest, 10)
                assert mem_alloc() == before and e.steps == 60, (coder, mem_alloc() - before)

    return measure
