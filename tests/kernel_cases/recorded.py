"""Arguments of the packet coder's kernels, recorded while packets of many kinds are coded."""

from array import array

from qres import cm, encoder, forecast, golomb, mixed, rangecoder, rice
from qres.fixed import MAX32, MIN32
from qres.model import Model
from support import below, xorshift

MODULES = (rangecoder, cm, forecast, mixed, golomb, rice)
KERNELS = (
    "code",
    "code_bits",
    "predict",
    "correct",
    "blend",
    "learn",
    "measure",
    "standardize",
    "follow",
    "decide",
    "adapt",
    "survival",
    "scale",
    "symbol",
    "magnitude",
    "settle",
    "choose",
    "advance",
    "put",
    "put_residual",
)
EACH = 40  # calls kept of each kernel
EVERY = 121  # of so many


def _rows(source, channels, size):
    """A walk with steps of up to `size`, some values extreme."""
    x = [below(source, 2000) - 1000 for _ in range(channels)]
    for _ in range(40):
        x = [min(max(v + below(source, 2 * size + 1) - size, MIN32), MAX32) for v in x]
        if below(source, 25) == 0:
            x[below(source, channels)] = (MIN32, MAX32, 0, 1 << 24, -(1 << 24), 1 << 28)[below(source, 6)]
        yield tuple(x)


def _packets(coder):
    source = xorshift(5)
    for size in (0, 1, 40, 3000, 1 << 22, 1 << 30):
        for channels in (1, 4):
            model = Model(channels, 4, [131071, -131071, 65536, -9, 70000] * channels)
            base = None
            for turn in range(3):
                packet = encoder.Encoder(channels, coder, 900, base)
                for i, row in enumerate(_rows(source, channels, size)):
                    packet.add(100 * turn + i, row)
                base = packet.checkpoint(7, 1000) if turn else model


def _copy(item):
    """A buffer as it is now, also one that a kernel sees through a view."""
    return array("i", item) if isinstance(item, memoryview) else item[:]


_kept = {}


def recorded():
    """Kernel name -> argument tuples; each call is kept that is the first of its kernel, and then one in EVERY."""
    kept, counts, originals = _kept, {}, []
    if kept:
        return kept

    def wrap(name, function):
        def call(*arguments):
            number = counts[name] = counts.get(name, -1) + 1
            if number % EVERY == 0 and len(kept.setdefault(name, [])) < 2 * EACH:
                kept[name].append(tuple(item if isinstance(item, int) else _copy(item) for item in arguments))
            return function(*arguments)

        return call

    for module in MODULES:
        for name in sorted(dir(module)):
            if name in KERNELS:
                value = getattr(module, name)
                originals.append((module, name, value))
                setattr(module, name, wrap(name, value))
    try:
        _packets(encoder.CM)
        _packets(encoder.RICE)
    finally:
        for module, name, value in originals:
            setattr(module, name, value)
    return kept


def cases(name):
    """Copies of the recorded arguments of one kernel, spread over the whole run."""
    all_ = recorded()[name]
    for arguments in all_[:: max(len(all_) // EACH, 1)]:
        yield tuple(item if isinstance(item, int) else item[:] for item in arguments)


def generators(*names):
    """A generator of cases for each kernel."""
    return {name: (lambda name=name: cases(name)) for name in names}
