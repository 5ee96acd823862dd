"""Cases for kernels with much state: the arguments of their calls in a real run, copied before each call."""


def recorded(module, kernel, run, every=1, most=40):
    """Yield the arguments of every `every`-th call, at most `most`, that `run()` makes of `kernel` through `module`.

    Calls of other kernels in the same module count; buffers are copies, so each case can be run by itself.
    """
    original = getattr(module, kernel)
    seen = []
    calls = [0]

    def spy(*args):
        if calls[0] % every == 0 and len(seen) < most:
            seen.append(tuple([item if isinstance(item, int) else item[:] for item in args]))
        calls[0] += 1
        return original(*args)

    setattr(module, kernel, spy)
    try:
        run()
    finally:
        setattr(module, kernel, original)
    yield from seen
