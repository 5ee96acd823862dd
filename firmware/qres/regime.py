"""The regime machine: Calm, PreStorm, Storm, with asymmetric confirmation.

One table a profile; the diagram in the documentation is generated from it.  Entropies are Q16.16, durations and counts
are samples.  Source: seed section 4.
"""

from array import array

from qres.compat import const, kernel, ptr32

CALM = const(0)
PRESTORM = const(1)
STORM = const(2)
NAMES = ("Calm", "PreStorm", "Storm")

THETA1 = const(9830)  # 0.15: derivative
THETA2 = const(29491)  # 0.45: raw entropy
THETA3 = const(19660)  # 0.30: recovery
T_MIN = const(50)  # samples a Storm lasts at least
REFRACTORY = const(50)  # samples without a new PreStorm after a false alarm that timed out
VOTERS = const(3)  # the consensus gate
VOTE_REPUTATION = const(52428)  # 0.8
VOTE_ROUNDS = const(10)

# Conditions, tested in `step`; the diagram in the documentation is made from these lines.
# rise: derivative > 0.15
# high: raw > 0.45
# settled: derivative <= 0 and smoothed < 0.30
# falling: derivative < 0
# low: smoothed < 0.30
# expired: 50 samples in PreStorm

# (from, condition, times in a row, least samples in the state, to, refractory samples); the first that fires wins.
TABLES = {
    "default": (
        (CALM, "rise", 2, 0, PRESTORM, 0),
        (CALM, "high", 2, 0, PRESTORM, 0),
        (PRESTORM, "high", 3, 0, STORM, 0),
        (PRESTORM, "settled", 2, 0, CALM, 0),
        (PRESTORM, "expired", 1, 0, CALM, REFRACTORY),
        (STORM, "low", 5, T_MIN, CALM, 0),
    ),
    "seed": (
        (CALM, "rise", 2, 0, PRESTORM, 0),
        (PRESTORM, "high", 3, 0, STORM, 0),
        (PRESTORM, "falling", 1, 0, CALM, 0),
        (STORM, "low", 5, T_MIN + 1, CALM, 0),
    ),
}
CONDITIONS = ("rise", "high", "settled", "falling", "low", "expired")
_RISE = const(1)
_HIGH = const(2)
_SETTLED = const(4)
_FALLING = const(8)
_LOW = const(16)
_EXPIRED = const(32)
_COLUMNS = const(6)
_LONG = const(0xFFFF)
# Words of a machine
_SINCE = const(0)  # samples in this state, at most 65,535
_REFRACTORY = const(1)  # samples that are still without a new PreStorm
_RAW = const(2)  # three entropies, newest first
_SMOOTH = const(5)  # their three-point averages, newest first
_RUNS = const(8)  # how often each row of the table held in a row


@kernel
def step(state: int, i: int, held: int, entropy: int, literal: int, rows: int, words: object, table: object) -> int:
    """Take one sample's entropy (Q16.16, 0 to 1) in regime `state`; the regime after it.  `i`, `held` are work."""
    s = ptr32(words)
    t = ptr32(table)
    s[_RAW + 2] = s[_RAW + 1]
    s[_RAW + 1] = s[_RAW]
    s[_RAW] = entropy
    s[_SMOOTH + 2] = s[_SMOOTH + 1]
    s[_SMOOTH + 1] = s[_SMOOTH]
    smooth = (entropy + s[_RAW + 1] + s[_RAW + 2]) // 3
    s[_SMOOTH] = smooth
    derivative = (smooth - s[_SMOOTH + 2]) >> 1 if literal else (entropy - s[_RAW + 2]) >> 1
    since = s[_SINCE]
    if since < _LONG:
        since += 1
    s[_SINCE] = since
    quiet = s[_REFRACTORY]
    if quiet > 0:
        quiet -= 1
        s[_REFRACTORY] = quiet
    bits = _EXPIRED if since >= T_MIN else 0  # the conditions that hold
    if derivative > THETA1:
        bits |= _RISE
    if entropy > THETA2:
        bits |= _HIGH
    if derivative < 0:
        bits |= _FALLING
    if smooth < THETA3:
        bits |= _LOW if derivative > 0 else _LOW | _SETTLED
    target = -1
    row = 0
    i = 0
    while row < rows:
        if t[i] == state:
            held = 0
            if bits & t[i + 1]:
                held = s[_RUNS + row]
                if held < _LONG:
                    held += 1
            s[_RUNS + row] = held
            if target < 0 and held >= t[i + 2] and since >= t[i + 3] and not (state == CALM and quiet > 0):
                target = t[i + 4]
                s[_REFRACTORY] = t[i + 5]
        row += 1
        i += _COLUMNS
    if target >= 0:
        state = target
        s[_SINCE] = 0
        i = _RUNS
        while i < _RUNS + rows:
            s[i] = 0
            i += 1
    return state


def rules(table: "tuple[tuple[int, str, int, int, int, int], ...]") -> "array[int]":
    """A table as `step` takes it: conditions as bits by their place in CONDITIONS, row after row."""
    flat: list[int] = []
    for source, condition, times, least, to, quiet in table:
        flat += [source, 1 << CONDITIONS.index(condition), times, least, to, quiet]
    return array("i", flat)


class Machine:
    """One node's regime.  The default profile takes the derivative of the raw entropy, the seed's of the average."""

    STATE = "u:state a:words"

    def __init__(self, profile: str) -> None:
        """`profile`: a key of TABLES."""
        self.literal = 1 if profile == "seed" else 0
        self.table = rules(TABLES[profile])
        self.rows = len(self.table) // _COLUMNS
        self.state = CALM
        self.words = array("i", [0] * (_RUNS + self.rows))

    def push(self, entropy: int) -> int:
        """Take one sample's entropy (Q16.16, 0 to 1); the regime after it."""
        self.state = step(self.state, 0, 0, entropy, self.literal, self.rows, self.words, self.table)
        return self.state

    def force_storm(self) -> None:
        """Enter Storm on the word of others; the caller has checked the consensus gate."""
        if self.state != STORM:
            self.state = STORM
            self.words[_SINCE] = 0
            for i in range(_RUNS, len(self.words)):
                self.words[i] = 0


def gate_opens(votes: "list[tuple[int, int]]") -> bool:
    """The consensus gate: at least three distinct voters (node id, reputation Q16.16), each trusted 0.8 or more."""
    return len({node for node, reputation in votes if reputation >= VOTE_REPUTATION}) >= VOTERS
