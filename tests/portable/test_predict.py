"""predict: the contract battery, run on every predictor that the folder holds."""

import os

import support
from qres import predict
from qres.fixed import MAX32, MIN32
from qres.snapshot import Reader, SnapshotError, Writer
from support import below, raises, xorshift

ORDER = 4
RATE = 41
ROWS = 120


def names():
    """The modules of qres/predict, as the folder lists them."""
    folder = predict.__file__.rpartition("/")[0]
    return sorted([entry.partition(".")[0] for entry in os.listdir(folder or ".") if entry[0] != "_"])  # .py or .mpy


def walk(source, channels, rows=ROWS):
    """Rows of a walk whose channels share a part of their steps; some values are missing."""
    x = [100 * c for c in range(channels)]
    for _ in range(rows):
        common = below(source, 41) - 20
        x = [v + common + below(source, 21) - 10 for v in x]
        yield tuple([None if below(source, 30) == 0 else v for v in x])


def faults(source, channels):
    """Rows that broken sensors give: stuck, saturated, full-scale steps, noise over all of int32, nothing at all."""
    for row in walk(source, channels, 30):
        yield row
    for i in range(25):
        yield tuple([(MIN32, MAX32)[(i + c) & 1] for c in range(channels)])
    for _ in range(25):
        yield tuple([MAX32] * channels)
    for _ in range(25):
        yield tuple([(next(source) << 2) + MIN32 if c else MIN32 for c in range(channels)])
    for i in range(20):
        yield tuple([None if i & 1 else 1 << 30] * channels)
    for i in range(20):
        yield tuple([0 if c & 1 else i << 20 for c in range(channels)])


def dumped(predictor):
    out = Writer()
    out.fields(predictor)
    return out.finish()


def restored(name, channels, blob):
    fresh = predict.make(name, channels, ORDER, RATE)
    data = Reader(blob)
    data.fields(fresh)
    data.done()
    return fresh


def check(name, predictor, channels):
    """What holds after every row: `channels` ints in int32, the same when asked again."""
    ahead = predictor.predict()
    assert len(ahead) == channels, name
    for value in ahead:
        assert isinstance(value, int) and MIN32 <= value <= MAX32, (name, value)
    assert list(predictor.predict()) == list(ahead), name


def test_every_file_is_a_predictor_that_make_knows():
    assert names() == sorted(predict.NAMES)
    ids = [predict.make(name, 2, ORDER, RATE).WIRE_ID for name in names()]
    assert len(set(ids)) == len(ids)
    for bad in ("crystal ball", "__init__", "linear.Linear", ""):
        raises(ValueError, predict.make, bad, 2, ORDER, RATE)
    for name in names():
        for channels, order, rate in ((0, 4, 41), (2, 0, 1), (2, 17, 1), (2, 4, -1), (2, 4, 513)):
            raises(ValueError, predict.make, name, channels, order, rate)


def test_a_snapshot_in_the_middle_changes_nothing():
    for name in names():
        for channels in (1, 3):
            for rows in (walk, faults):
                a, b = predict.make(name, channels, ORDER, RATE), predict.make(name, channels, ORDER, RATE)
                for i, row in enumerate(rows(xorshift(17), channels)):
                    before = repr(row)
                    check(name, a, channels)
                    a.update(row)
                    assert repr(row) == before, name
                    if i % 40 == 20:
                        a = restored(name, channels, dumped(a))
                    b.predict()
                    b.update(row)
                assert a.predict() == b.predict() and dumped(a) == dumped(b), name


def test_an_update_needs_no_prediction_before_it():
    for name in names():
        a, b = predict.make(name, 3, ORDER, RATE), predict.make(name, 3, ORDER, RATE)
        for row in walk(xorshift(5), 3):
            a.predict()
            a.update(row)
            b.update(row)
        assert dumped(a) == dumped(b), name


def test_weights_can_be_handed_on():
    for name in names():
        a = predict.make(name, 3, ORDER, RATE)
        for row in walk(xorshift(3), 3):
            a.update(row)
        weights = a.weights()
        assert all([isinstance(w, int) and MIN32 <= w <= MAX32 for w in weights]), name
        assert len(weights) * 4 <= (256 if name in ("linear", "persistence", "rls") else 8192), name
        b = predict.make(name, 3, ORDER, RATE)
        b.set_weights(weights)
        assert b.weights() == weights, name
        raises(ValueError, b.set_weights, weights + [0])
        for extreme in (MAX32, MIN32):
            a.set_weights([extreme] * len(weights))
            for row in faults(xorshift(9), 3):
                check(name, a, 3)
                a.update(row)


def test_the_linear_layer_learns_as_if_it_were_alone():
    for name in names():
        a = predict.make(name, 3, ORDER, RATE)
        alone = type(a.linear)(3, ORDER, RATE)
        for i, row in enumerate(faults(xorshift(7), 3)):
            a.linear.rate = alone.rate = RATE if i & 8 or name == "persistence" else 205
            a.update(row)
            alone.update(row)
            assert a.linear.predict() == alone.predict(), name
        assert a.linear.weights() == alone.weights(), name
        a.linear.set_weights([9] * (3 * ORDER))
        check(name, a, 3)


def test_predictors_recover_from_faults():
    """After the worst rows, a quiet signal is predicted well again."""
    for name in names():
        a = predict.make(name, 2, ORDER, RATE)
        for row in faults(xorshift(13), 2):
            a.update(row)
        source = xorshift(29)
        missed = 0
        for i in range(400):
            row = (50 + below(source, 11), -70 + below(source, 11))
            if i >= 300:
                missed += sum([abs(p - v) for p, v in zip(a.predict(), row)])
            a.update(row)
        assert missed <= 200 * 12, (name, missed)


def test_snapshots_of_another_shape_are_refused():
    for name in names():
        blob = dumped(predict.make(name, 3, ORDER, RATE))
        raises(SnapshotError, Reader(blob).fields, predict.make(name, 2, ORDER, RATE))


def test_the_heap_does_not_grow():
    if not support.is_micropython:
        return None
    left = names()
    state = []
    source = xorshift(31)

    def start():
        if not left:
            return None
        before = support.allocated()
        a = predict.make(left[0], 4, ORDER, RATE)
        for row in walk(source, 4, 100):
            a.update(row)
        state[:] = [a, before]
        return warm

    def warm():
        seen = support.allocated()
        size = len(dumped(state[0]))
        print(
            "     %s: 4 channels, %d bytes of heap beside its code, %d of snapshot" % (left[0], seen - state[1], size)
        )
        for row in walk(source, 4, 300):
            state[0].update(row)
        state[1] = seen
        return settle

    def settle():
        grown = support.allocated() - state[1]
        assert grown < 256, (left[0], grown)
        del left[0]
        state[:] = []
        return start

    return start


def test_linear_beats_persistence_where_changes_repeat():
    source = xorshift(23)
    d, x, model = 0, 0, predict.make("linear", 1, ORDER, RATE)
    loss = [0, 0]
    for i in range(2000):
        d = (d * 7 >> 3) + below(source, 41) - 20
        if i > 300:
            loss[0] += abs(x + d - model.predict()[0])
            loss[1] += abs(d)
        x += d
        model.update((x,))
    assert loss[0] * 10 < loss[1] * 8, loss


def test_persistence_predicts_the_last_value_and_linear_starts_there():
    p, q = predict.make("persistence", 1, ORDER, RATE), predict.make("linear", 1, ORDER, RATE)
    for v in (3, -8, MAX32):
        q.set_weights([0] * ORDER)
        p.update((v,))
        q.update((v,))
        assert p.predict() == [v]
    assert predict.make("linear", 2, ORDER, 0).predict() == [0, 0]


def configured(channels, **changes):
    from qres import config

    names = [{"name": "c%d" % i} for i in range(channels)]
    return config.load(dict(swarm_key="5a" * 32, channels=names, **changes))


def test_a_configuration_whose_state_deep_sleep_cannot_keep_is_refused():
    from qres.config import ConfigError

    deep = {"period_ms": 3600000, "light_ms": 1000}
    assert configured(2, predictor="taaf", **deep)["coder"] == "cm"
    assert configured(2, predictor="taaf", **deep)["checkpoints"]
    crowded = configured(6, predictor="taaf", **deep)
    assert crowded["coder"] == "rice" and not crowded["checkpoints"]
    assert configured(6, predictor="lstm", **deep)["predictor"] == "lstm"
    assert configured(1, predictor="mix", **deep)["predictor"] == "mix"
    light = {"period_ms": 60000, "light_ms": 60001}
    assert configured(4, predictor="mix", **light)["predictor"] == "mix"
    assert configured(4, predictor="mix", role="sentinel", **deep)["predictor"] == "mix"
    assert configured(15, predictor="taaf", order=4, **light)["coder"] == "rice"
    for name, channels, sleep in (
        ("mix", 2, deep),
        ("taaf", 9, deep),
        ("lstm", 9, deep),
        ("rls", 9, deep),
        ("mix", 5, deep),
        ("mix", 5, light),
    ):
        try:
            configured(channels, predictor=name, **sleep)
        except ConfigError as error:
            assert "'predictor'" in str(error) and ("light_ms" in str(error)) == (name != "mix" or channels < 5)
        else:
            raise AssertionError(name)


def test_boards_with_other_predictors_share_a_model():
    keys = [configured(2, predictor=name, period_ms=60000)["model_key"] for name in names()]
    assert len(set(keys)) == 1


def test_a_trained_cell_is_checked_and_used():
    from qres.config import ConfigError
    from qres.predict.lstm import cell_bytes

    text = "7f" * cell_bytes(2)
    cfg = configured(2, predictor="lstm", cell=text)
    a = predict.make("lstm", 2, ORDER, RATE)
    a.set_cell(cfg["cell"])
    assert bytes(a.cell) == cfg["cell"]
    for bad, name in ((text[:-2], "lstm"), ("zz" * cell_bytes(2), "lstm"), (5, "lstm"), (text, "taaf")):
        try:
            configured(2, predictor=name, cell=bad)
        except ConfigError as error:
            assert "'cell'" in str(error)
        else:
            raise AssertionError(bad)
