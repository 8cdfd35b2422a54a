"""Prediction sets whose threshold follows the labels that come in: coverage that survives shift.

Quantile tracking (Angelopoulos et al. 2023, arXiv 2307.16895, the P of its PID), which is adaptive
conformal inference (Gibbs and Candès 2021, arXiv 2106.00170) on the threshold itself in the place
of the level. Of the label that comes t-th, with the score s_t of `lac`, −log p in nats and 0 for
the top class,

    err_t = [s_t > q_t]      q_{t+1} = max(0, q_t + η (err_t − α)),  η = 0.5 nats, α = 1 − coverage

Whatever the images are, over any T labels during which q does not touch 0 the share of misses is α
but for |q_end − q_start| / (η T). At 0, where the top class alone covers more than asked, q stays:
were it to go on falling, as ACI's level does, it would take as long to come back when images shift.
Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from carot.calibration.metrics.numbers import Numbers
from carot.errors import CalibrationError

STEP = 0.5
"""η in nats. Of 0.1 to 2, on streams of digits that turn inverted: at 0.1 coverage is not back
within 300 labels, from 1 on sets are larger for the same coverage."""
RECENT = 300
"""Labels of which the share that is covered now is told."""


class OnlineCoverage(Numbers):
    """The threshold after some labels, and how often it held them.

    Attributes:
        coverage: what is asked for.
        threshold: q, the score that a member of a set has at most, in nats.
        labels: how many it has seen, each judged by the threshold before it.
        covered: how many of them were in their set.
        recent: of the last `RECENT`, oldest first, 1 for those that were.
    """

    version: Literal[1] = 1
    coverage: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0, allow_inf_nan=False)
    labels: int = Field(default=0, ge=0)
    covered: int = Field(default=0, ge=0)
    recent: str = Field(default="", max_length=RECENT, pattern="^[01]*$")

    @classmethod
    def fresh(cls, coverage: float, threshold: float = 0.0) -> OnlineCoverage:
        """Before the first label.

        Args:
            threshold: to begin with, such as that of split conformal prediction.
        """
        return cls(coverage=coverage, threshold=threshold)

    @property
    def long_run(self) -> float | None:
        """Share of all labels that were covered; None before the first."""
        return self.covered / self.labels if self.labels else None

    @property
    def lately(self) -> float | None:
        """The same of the last `RECENT`."""
        return self.recent.count("1") / len(self.recent) if self.recent else None

    def update(self, scores: Iterable[float]) -> OnlineCoverage:
        """After the scores of more labels, in the order in which they came.

        Raises:
            CalibrationError: a score that is below 0 or no number.
        """
        threshold, covered, labels = self.threshold, self.covered, self.labels
        seen = []
        for score in scores:
            if not score >= 0:
                raise CalibrationError(f"a score is 0 or more, not {score}")
            held = score <= threshold
            seen.append("1" if held else "0")
            labels, covered = labels + 1, covered + held
            # A hit takes η α off, a miss adds η (1 − α).
            threshold = max(0.0, threshold + STEP * ((not held) - (1 - self.coverage)))
        return self.model_copy(
            update={
                "threshold": threshold,
                "labels": labels,
                "covered": covered,
                "recent": (self.recent + "".join(seen))[-RECENT:],
            }
        )


def label_score(logits_C: Sequence[float], label: int) -> float:
    """Score of a label by `lac`, −log softmax, in nats; 0 for the top class and its equals.

    Raises:
        CalibrationError: a label out of range, or logits that are not finite.
    """
    if not 0 <= label < len(logits_C) or not all(map(math.isfinite, logits_C)):
        raise CalibrationError("finite logits with the label's among them are needed")
    top = max(logits_C)
    if logits_C[label] == top:
        return 0.0
    return math.log(math.fsum(math.exp(z - top) for z in logits_C)) - (logits_C[label] - top)
