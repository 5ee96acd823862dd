"""encoder and codec: every packet decodes to what went in, other bytes raise CodecError alone."""

from qres import codec
from qres.encoder import HUFFMAN, RICE, Encoder
from qres.fixed import MAX32, MIN32
from qres.model import Model
from support import below, noise, raises, xorshift

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
        for coder in (RICE, HUFFMAN):
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
    for coder in (RICE, HUFFMAN):
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
    other = Model(2, 4)
    raises(codec.CodecError, codec.decode, e.finish(1000, 0), {model.hash: other})


def test_a_model_that_fits_makes_packets_smaller():
    source = xorshift(5)
    rows = [(0,)]
    d = 0
    for _ in range(200):  # changes that repeat themselves: weight one on the last change
        d = min(max(d + below(source, 5) - 2, -60), 60)
        rows.append((rows[-1][0] + d,))
    sizes = []
    for model in (None, Model(1, 1, [65536, 4096])):
        e = Encoder(1, RICE, 2000, model)
        assert fill(e, rows, 0) == len(rows)
        sizes.append(len(e.finish(1000, 0)))
    assert sizes[1] < sizes[0] * 3 // 4, sizes


def test_any_bytes_decode_or_raise_codec_error():
    source = xorshift(31)
    model = model_for(source, 2)
    models = {model.hash: model}
    for size in range(0, 200):
        try:
            codec.decode(noise(source, size), models)
        except codec.CodecError:
            pass
    e = Encoder(2, HUFFMAN, LIMIT, model)
    fill(e, walk(source, 2, 300, 50, 20), 1000)
    good = e.finish(60000, 1)
    for _ in range(400):
        bad = bytearray(good)
        for _ in range(1 + below(source, 3)):
            bad[below(source, len(bad))] ^= 1 << below(source, 8)
        bad = bad[: below(source, len(bad) + 1)] if below(source, 2) else bad
        try:
            block = codec.decode(bytes(bad), models)
            assert len(block.steps) <= 255
        except codec.CodecError:
            pass


def test_every_truncation_is_refused():
    e = Encoder(1, RICE, LIMIT, None)
    fill(e, walk(xorshift(2), 1, 90, 100, 0), 3)
    data = e.finish(60000, 0)
    for n in range(len(data)):
        raises(codec.CodecError, codec.decode, data[:n], {})
    raises(codec.CodecError, codec.decode, data + b"\x00", {})
