"""A calibrator fitted to collected labels, and whether it does better than the one in use.

Half of the labels, drawn by the seed, fit it; the other half judges. It counts as better only if
these hold there:

- The held-out labels are 20 times likelier under it than under the calibrator in use: 3 nats of
  negative log-likelihood saved in all. That ratio is an e-value (universal inference, Wasserman,
  Ramdas and Balakrishnan 2020): if the calibrator in use is right, it reaches 20 with probability
  1/20 at most, for any number of labels.
- The mean of what it saves, label by label, exceeds 0 with 95 % confidence (one-sided, Student's
  t): for the case that neither is right, and with many labels.
- No parameter of it ran to a bound: labels without a mistake among them determine no temperature.
- No class is left with less than half of its right answers (`suppressed_class`), whatever the
  others gain.

Neither a lower mean nor the t-test alone would do. Where 99 of 100 answers are right, half a
hundred labels often hold no mistake at all; a sharper calibrator then saves a little on every one
of them, at a variance of nearly nothing. `benchmarks/monitor.py` counts how often each rule moves.

What was judged is what is served: it is **not** fitted again to all labels. The other half would
buy a lower loss by about p / 2n nats, p parameters and n labels, and cost the only figure that
says what the new calibrator is worth. Whoever asks again and again with other seeds until one
passes gets what the seeds give, not what the labels say: keep the seed.

Labels must not depend on whether the answer was right, given the logits. Shape suffixes: N labels,
C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import Field
from scipy.special import stdtrit
from torch import Tensor

from carot.calibration.calibrators.automatic import choose_calibrator
from carot.calibration.calibrators.by_class import rare_classes, suppressed_class
from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.calibrators.fitting import FITS, Sample, fit_calibrator, sample_likelihood
from carot.calibration.calibrators.origin import Origin
from carot.calibration.metrics.inputs import check
from carot.calibration.metrics.intervals import Interval
from carot.calibration.metrics.likelihood import raw_negative_log_likelihood
from carot.calibration.metrics.numbers import Numbers
from carot.errors import CalibrationError

ALPHA = 0.05
LEAST_LABELS = 100
AUTO = "auto"
ALONE = tuple(kind for kind in FITS if kind not in ("domain_temperature", "perturbed_temperature"))
"""Kinds that need nothing but logits and labels."""
SPLIT = "labels"


class Recalibration(Numbers):
    """The new calibrator and how it does beside the old one on labels that neither has seen."""

    calibrator: AnyCalibrator = Field(description="Fitted to `fitted_on` labels.")
    current_kind: str | None = Field(description="What it was compared with; null: raw softmax.")
    seed: int
    fitted_on: int = Field(ge=1)
    held_out: int = Field(ge=2)
    nll_current: float = Field(description="Mean on the held-out labels, in nats.")
    nll_new: float
    gain: float = Field(description="nll_current − nll_new; above 0 the new one does better.")
    gain_interval: Interval = Field(description="95 % interval of it, paired, Student's t.")
    gain_lower_bound: float = Field(description="Above this with 95 % confidence, one-sided.")
    log_evidence: float = Field(
        description="held_out · gain: logarithm of how many times likelier the new one makes the "
        "held-out labels."
    )
    improves: bool = Field(
        description="Whether `gain_lower_bound` is above 0, the held-out labels are 20 times "
        "likelier, the labels determine the calibrator (it is not `at_bound`), and it suppresses "
        "no class."
    )
    suppressed: str | None = Field(
        default=None, description="A class that loses its right answers by it; null: none does."
    )
    rare_classes: tuple[str, ...] = Field(
        default=(),
        description="Classes with too few of the labels it was fitted on for anything to be "
        "fitted to them.",
    )


@torch.no_grad()
def recalibrate(
    logits_NC: Tensor,
    labels_N: Tensor,
    current: AnyCalibrator | None,
    kind: str,
    *,
    classes: Sequence[str],
    logit_scale: float,
    seed: int = 0,
) -> Recalibration:
    """Fit a calibrator to one half of the labels and compare it on the other.

    Args:
        logits_NC: as the classifier made them, before any calibrator.
        labels_N: true class indices.
        current: what is served now; None for softmax as it is. A `domain_temperature` counts with
            its pooled temperature.
        kind: one of `ALONE`, or `auto` to choose among them by cross-validation within the half
            that is fitted to.
        classes: names of the label set, kept as a hash.
        logit_scale: exp(s) that is already in the logits, kept.
        seed: what the division depends on, and the number of labels.

    Raises:
        CalibrationError: fewer than `LEAST_LABELS` labels (`field` is `labels`), an unknown kind or
            one that needs more than logits (`calibrator`), misshapen or non-finite input, labels
            out of range.
    """
    labels = len(labels_N)
    if labels < LEAST_LABELS:
        message = f"{labels} labels are too few to fit and to judge: {LEAST_LABELS} are needed"
        raise CalibrationError(message, field="labels")
    if kind != AUTO and kind not in ALONE:
        message = f"recalibration fits {', '.join((*ALONE, AUTO))}, not {kind!r}"
        raise CalibrationError(message, field="calibrator")
    check(logits_NC, labels_N)
    fit_n, held_n = (part.to(logits_NC.device) for part in halves(labels, seed))
    sample = Sample(logits_NC, labels_N)
    fitting, held = sample.take(fit_n), sample.take(held_n)
    origin: Origin = {"classes": classes, "logit_scale": logit_scale, "split": SPLIT}
    calibrator = (
        choose_calibrator(fitting, ALONE, **origin).calibrator
        if kind == AUTO
        else fit_calibrator(kind, fitting, **origin)
    )
    if current is None:
        before_N = raw_negative_log_likelihood(held.logits_NC, held.labels_N)
    else:
        before_N = sample_likelihood(current, held)
    after_N = sample_likelihood(calibrator, held)
    found = _compared(before_N, after_N, calibrator, current, seed, fit_n)
    rare = rare_classes(fitting.labels_N, logits_NC.shape[1])
    return _by_class(found, current, held, [classes[k] for k in rare])


def _by_class(
    found: Recalibration, current: AnyCalibrator | None, held: Sample, rare: Sequence[str]
) -> Recalibration:
    """The same with what it does to single classes, which may speak against it."""
    before_N, after_N = _right(current, held), _right(found.calibrator, held)
    suppressed = suppressed_class(before_N, after_N, held.labels_N.long())
    return found.model_copy(
        update={
            "improves": found.improves and suppressed is None,
            "suppressed": suppressed,
            "rare_classes": tuple(rare),
        }
    )


def _right(calibrator: AnyCalibrator | None, held: Sample) -> Tensor:
    """Which answers are right; a calibrator that keeps the ranking leaves them to the logits."""
    scores_NC = held.logits_NC
    if calibrator is not None and not calibrator.keeps_ranking:
        scores_NC = calibrator.log_probabilities(scores_NC)
    return scores_NC.argmax(dim=1) == held.labels_N


def halves(labels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices to fit to and to judge by, each rising; the larger half, if one is, judges.

    Drawn without a look at the labels: halves with equal shares of each class would share what is
    chance in those shares, and the second would no longer judge the first.
    """
    order_N = torch.randperm(labels, generator=torch.Generator().manual_seed(seed))
    return order_N[: labels // 2].sort().values, order_N[labels // 2 :].sort().values


def _compared(
    before_N: Tensor,
    after_N: Tensor,
    calibrator: AnyCalibrator,
    current: AnyCalibrator | None,
    seed: int,
    fit_n: Tensor,
) -> Recalibration:
    held_out = len(before_N)
    gain_N = before_N - after_N
    gain = float(gain_N.mean())
    error = float(gain_N.std()) / math.sqrt(held_out)
    half = float(stdtrit(held_out - 1, 0.975)) * error
    bound = gain - float(stdtrit(held_out - 1, 0.95)) * error
    return Recalibration(
        calibrator=calibrator,
        current_kind=None if current is None else current.kind,
        seed=seed,
        fitted_on=len(fit_n),
        held_out=held_out,
        nll_current=float(before_N.mean()),
        nll_new=float(after_N.mean()),
        gain=gain,
        gain_interval=(gain - half, gain + half),
        gain_lower_bound=bound,
        log_evidence=held_out * gain,
        improves=bound > 0 and held_out * gain >= -math.log(ALPHA) and not calibrator.at_bound,
    )
