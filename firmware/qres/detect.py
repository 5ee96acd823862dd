"""Spike detection on prediction residuals, and the entropy that drives the regimes."""

from qres.compat import const
from qres.fixed import ONE, div
from qres.stats import Welford

WARMUP = const(16)  # residuals before the first verdict
_SCORE_FULL_Q8 = const(1997)  # 7.8 standard deviations: entropy 1 in the default profile
_WINDOW = const(4096)  # residuals after which the past counts half
_MAX = const(0xFFFFFFFF)


class Detector:
    """One channel: Welford's running deviation of the residual, and an entropy from 0 to 1 (Q16.16)."""

    STATE = "o:residuals"

    def __init__(self, sigma: int, full_scale: int) -> None:
        """A spike deviates by more than `sigma` standard deviations.

        `full_scale` > 0 is the signal's range in LSB and selects the seed's entropy |residual| / range; 0 selects
        the default profile's, in multiples of the residual's own deviation.
        """
        self.sigma_q8 = sigma << 8
        self.full_scale = full_scale
        self.residuals = Welford()

    def push(self, residual: int) -> "tuple[int, int]":
        """Judge a residual, then learn from it: (entropy Q16.16, spike 0 or 1).

        What counts as a spike enters the statistics cut to the threshold, so one outlier cannot blind the detector.
        """
        stats = self.residuals
        score = stats.deviation_q8(residual) if stats.n >= WARMUP else 0
        spike = 1 if score > self.sigma_q8 else 0
        if self.full_scale:
            entropy = min(ONE, div(abs(residual), self.full_scale))
        else:
            entropy = min(ONE, (score << 16) // _SCORE_FULL_Q8)
        if spike:
            mean = stats.mean()
            residual = mean + (residual - mean) * self.sigma_q8 // score
        stats.push(residual)
        if stats.n >= _WINDOW:
            stats.halve()
        return entropy, spike
