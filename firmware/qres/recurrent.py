"""A long short-term memory cell in integers (Hochreiter and Schmidhuber 1997, with the forget gate of Gers 2000).

Inputs are standardized changes, Q8; state, gates and outputs Q16.16, through the exact functions of `qres.elementary`.
The weights of a cell are bytes: w stands for (w - 128) / 32.  A row of them for each of the input, forget and output
gates of all hidden units, then their candidates; in a row the bias, then inputs, then hidden units.
Imported only by predictors that need it.
"""

from qres.compat import const, kernel, ptr8, ptr32

ZERO = const(128)  # the byte of weight 0
CELL_MAX = const(0x7FFFF)  # state of a unit: eight


@kernel
def gates(
    i: int, total: int, at: int, hidden: int, inputs: int, cell: object, x: object, h: object, out: object
) -> int:
    """out[0..4 * hidden - 1] = bias + weights * (x, h), Q16.16: what goes into the gates and the candidates.

    x has `inputs` values within +-4095, up to 32, h has `hidden`, up to 16.  `i`, `total` and `at` are work.

    Returns 0.
    """
    w = ptr8(cell)
    f = ptr32(x)
    s = ptr32(h)
    o = ptr32(out)
    at = 0
    k = 0
    while k < hidden << 2:
        bias = (w[at] - ZERO) << 11
        at += 1
        total = 0
        i = 0
        while i < inputs:
            total += (w[at] - ZERO) * f[i]
            at += 1
            i += 1
        bias += total << 3
        total = 0
        i = 0
        while i < hidden:
            total += (w[at] - ZERO) * s[i]
            at += 1
            i += 1
        o[k] = bias + (total >> 5)
        k += 1
    return 0


@kernel
def remember(i: int, a: int, b: int, hidden: int, gated: object, state: object, out: object) -> int:
    """state = forget * state + input * candidate, within +-CELL_MAX, and a copy in `out`; `gated` is as activated.

    `i`, `a` and `b` are work.  Returns 0.
    """
    g = ptr32(gated)
    c = ptr32(state)
    o = ptr32(out)
    i = 0
    while i < hidden:
        a = g[hidden + i]
        b = c[i]
        total = (a * (b >> 8) + (a * (b & 255) >> 8) + 128) >> 8
        a = g[i]
        b = g[3 * hidden + i]
        total += (a * (b >> 8) + (a * (b & 255) >> 8) + 128) >> 8
        if total > CELL_MAX:
            total = CELL_MAX
        elif total < -CELL_MAX:
            total = -CELL_MAX
        c[i] = total
        o[i] = total
        i += 1
    return 0


@kernel
def emit(i: int, a: int, b: int, hidden: int, gated: object, h: object) -> int:
    """h = output gate * h, which holds tanh of the state; `i`, `a` and `b` are work.  Returns 0."""
    g = ptr32(gated)
    s = ptr32(h)
    i = 0
    while i < hidden:
        a = g[2 * hidden + i]
        b = s[i]
        s[i] = (a * (b >> 8) + (a * (b & 255) >> 8) + 128) >> 8
        i += 1
    return 0


@kernel
def add(i: int, a: int, most: int, count: int, ahead: object, more: object) -> int:
    """ahead += more, each and the sum within +-`most`; `i` and `a` are work.  Returns 0."""
    p = ptr32(ahead)
    q = ptr32(more)
    i = 0
    while i < count:
        a = p[i] + q[i]
        if a > most:
            a = most
        elif a < -most:
            a = -most
        p[i] = a
        i += 1
    return 0
