"""A stand-in until the branch `monitor` brings the real one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from carot.calibration.numbers import Numbers

BETS = tuple(s * x for s in (-1, 1) for x in (0.05, 0.1, 0.25, 0.5, 0.9))


class EProcess(Numbers):
    log_wealth: tuple[float, ...] = (0.0,) * len(BETS)
    log_peak: float = 0.0
    n: int = 0

    def update(self, confidences: Sequence[float], outcomes: Sequence[bool]) -> EProcess:
        wealth, peak, n = list(self.log_wealth), self.log_peak, self.n
        for c, o in zip(confidences, outcomes, strict=True):
            wealth = [w + math.log1p(b * (o - c)) for w, b in zip(wealth, BETS, strict=True)]
            peak = max(peak, _mean(wealth))
            n += 1
        return EProcess(log_wealth=tuple(wealth), log_peak=peak, n=n)

    @property
    def evidence(self) -> float:
        return math.exp(min(_mean(self.log_wealth), 690))

    @property
    def peak(self) -> float:
        return math.exp(min(self.log_peak, 690))

    def rejects(self, alpha: float = 0.05) -> bool:
        return self.peak >= 1 / alpha


def _mean(wealth: Sequence[float]) -> float:
    top = max(wealth)
    return top + math.log(sum(math.exp(w - top) for w in wealth) / len(wealth))
