"""The energy pool in integer microjoules, and when a node had better be silent."""

from qres.compat import const

CAP_PERMILLE = const(100)  # below: the radio keeps the interval of Calm
RELEASE_PERMILLE = const(150)  # the cap ends; also the reserve below which nothing is gossiped
RECHARGE_PERMILLE = const(800)  # above: Calm sleeps rather than recharges
ALERT_PERMILLE = const(300)
ABUNDANT_PERMILLE = const(700)

ACTIVE = const(0)  # silence states
ALERT = const(1)
DEEP_SILENCE = const(2)
SILENCE_NAMES = ("Active", "Alert", "DeepSilence")
_QUIET_SAMPLES = const(100)
_QUIET_VARIANCE = const(16777)  # 0.001, Q24
_VARIANCE_SHIFT = const(5)  # the variance of the entropy is that of about the last 2^5 samples
_HEARTBEAT = const(50)


class Pool:
    """What is left in the battery.  Spends by the board's power table, corrected by each battery reading."""

    STATE = "u:level_uj u:spent_uj u:capped"

    def __init__(self, power: "dict[str, int]", capacity_uj: int, mains: bool = False) -> None:
        """`power`: sleep_uw, cpu_uw, radio_uw, boot_uj, tx_byte_nj; a full pool of `capacity_uj`.

        On `mains` (a USB cable) spending is counted and the pool stays full, unless a battery is measured.
        """
        self.mains = mains
        self.power = power
        self.capacity_uj = capacity_uj
        self.level_uj = capacity_uj
        self.spent_uj = 0
        self.capped = 0

    def spend(self, uj: int) -> None:
        """Take `uj` >= 0 out of the pool, which never goes below 0."""
        self.spent_uj += uj
        if not self.mains:
            self.level_uj = max(self.level_uj - uj, 0)
        self._judge()

    def spend_time(self, state: str, duration_ms: int) -> None:
        """Spend what `duration_ms` in state sleep, cpu or radio costs."""
        if duration_ms > 0:
            self.spend(self.power[state + "_uw"] * duration_ms // 1000)

    def spend_send(self, size_bytes: int) -> None:
        """Spend what sending that many bytes costs beyond an open radio."""
        self.spend(self.power["tx_byte_nj"] * size_bytes // 1000)

    def measured(self, permille: int) -> None:
        """Believe a battery reading, 0 to 1000."""
        self.level_uj = self.capacity_uj * permille // 1000
        self._judge()

    def permille(self) -> int:
        """Share left, 0 to 1000."""
        return self.level_uj * 1000 // self.capacity_uj

    def _judge(self) -> None:
        p = self.permille()
        if p < CAP_PERMILLE:
            self.capped = 1
        elif p >= RELEASE_PERMILLE:
            self.capped = 0


class Silence:
    """Whether gossip is worth its energy (seed section 4: (entropy x reputation) > (cost x bias))."""

    STATE = "u:state u:quiet u:since_heartbeat u:mean u:variance"

    def __init__(self) -> None:
        """Starts Active."""
        self.state = ACTIVE
        self.quiet = 0  # calm samples in a row while the entropy hardly varies
        self.since_heartbeat = 0
        self.mean = 0  # of the entropy, exponentially weighted: Q24
        self.variance = 0  # Q24

    def push(self, entropy: int, regime: int) -> None:
        """Take one sample's entropy (Q16.16) and regime."""
        d = (entropy << 8) - self.mean
        self.mean += d >> _VARIANCE_SHIFT
        self.variance += ((d >> 8) * (d >> 8) >> 8) - self.variance >> _VARIANCE_SHIFT
        self.quiet = min(self.quiet + 1, 65535) if regime == 0 and self.variance < _QUIET_VARIANCE else 0
        self.since_heartbeat = min(self.since_heartbeat + 1, 65535)
        self.state = ALERT if regime else DEEP_SILENCE if self.quiet >= _QUIET_SAMPLES else ACTIVE

    def allows(self, entropy: int, reputation: int, cost: int, permille: int) -> bool:
        """Whether to gossip now: entropy, reputation and cost x bias in Q16.16, energy left in permille."""
        if permille < RELEASE_PERMILLE:
            return False
        if self.state == ALERT:
            return permille > ALERT_PERMILLE
        if self.state == DEEP_SILENCE:
            if self.since_heartbeat < _HEARTBEAT:
                return False
            self.since_heartbeat = 0
            return True
        return (entropy * reputation) >> 16 > cost or permille > ABUNDANT_PERMILLE
