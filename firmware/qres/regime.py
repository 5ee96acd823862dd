"""The regime machine: Calm, PreStorm, Storm, with asymmetric confirmation.

One table a profile; the diagram in the documentation is generated from it.  Entropies are Q16.16, durations and counts
are samples.  Source: seed section 4.
"""

from qres.compat import const

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

# Conditions, tested in Machine._holds; the diagram in the documentation is made from these lines.
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
_LONG = const(0xFFFF)


class Machine:
    """One node's regime.  The default profile takes the derivative of the raw entropy, the seed's of the average."""

    STATE = "u:state u:since u:refractory a:raw a:smooth a:runs"

    def __init__(self, profile: str) -> None:
        """`profile`: a key of TABLES."""
        self.table = TABLES[profile]
        self.literal = profile == "seed"
        self.state = CALM
        self.since = 0  # samples in this state, at most 65,535
        self.refractory = 0
        self.raw = [0, 0, 0]  # entropies, newest first
        self.smooth = [0, 0, 0]  # their three-point averages, newest first
        self.runs = [0] * len(self.table)  # how often each row held in a row

    def push(self, entropy: int) -> int:
        """Take one sample's entropy (Q16.16); the regime after it."""
        raw, smooth = self.raw, self.smooth
        raw[2], raw[1], raw[0] = raw[1], raw[0], entropy
        smooth[2], smooth[1], smooth[0] = smooth[1], smooth[0], (raw[0] + raw[1] + raw[2]) // 3
        self.since = min(self.since + 1, _LONG)
        if self.refractory:
            self.refractory -= 1
        target = -1
        for i in range(len(self.table)):
            source, condition, times, least, to, quiet = self.table[i]
            if source != self.state:
                continue
            self.runs[i] = min(self.runs[i] + 1, _LONG) if self._holds(condition) else 0
            if (
                target < 0
                and self.runs[i] >= times
                and self.since >= least
                and not (source == CALM and self.refractory)
            ):
                target = to
                rest = quiet
        if target >= 0:
            self._enter(target)
            self.refractory = rest
        return self.state

    def derivative(self) -> int:
        """(e[t] - e[t-2]) / 2 in Q16.16, of the raw entropy or, in the seed profile, of its average."""
        e = self.smooth if self.literal else self.raw
        return (e[0] - e[2]) >> 1

    def force_storm(self) -> None:
        """Enter Storm on the word of others; the caller has checked the consensus gate."""
        if self.state != STORM:
            self._enter(STORM)

    def _enter(self, state: int) -> None:
        self.state = state
        self.since = 0
        self.runs = [0] * len(self.table)

    def _holds(self, condition: str) -> bool:
        if condition == "rise":
            return self.derivative() > THETA1
        if condition == "high":
            return self.raw[0] > THETA2
        if condition == "settled":
            return self.derivative() <= 0 and self.smooth[0] < THETA3
        if condition == "falling":
            return self.derivative() < 0
        if condition == "low":
            return self.smooth[0] < THETA3
        return self.since >= T_MIN  # expired


def gate_opens(votes: "list[tuple[int, int]]") -> bool:
    """The consensus gate: at least three distinct voters (node id, reputation Q16.16), each trusted 0.8 or more."""
    return len({node for node, reputation in votes if reputation >= VOTE_REPUTATION}) >= VOTERS
