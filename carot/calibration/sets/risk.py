"""From which confidence on answers are wrong at most so often, with a bound that holds.

Selective classification (Geifman and El-Yaniv 2017): accept an image if its confidence is above a
threshold, so that of what is accepted a share of at most `max_risk` is wrong. For the m most
confident of n calibration images, given the next one's confidence t, the errors are binomial with
the risk R(t) of all images above t. If the chance of so few at R = `max_risk` is at most δ (Clopper
and Pearson's bound), "R(t) > max_risk" is rejected at level δ.

Many m are tried, so the error must be kept over all of them: fixed-sequence testing (Bauer 1991;
Angelopoulos et al. 2021, arXiv 2110.01052) goes from few accepted images to many, in steps fixed
beforehand, and stops at the first that is not rejected. One chance error among the first would end
it there, so sequences start at a tenth, a quarter, a half, three quarters and all of the images, at
level δ / 5 each; the one that gets farthest counts. With probability 1 − δ over the calibration
split the risk of accepted images is then at most `max_risk`, for images exchangeable with it and
where risk does not rise with the threshold; each start by itself holds for any model. Loads no
torch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from carot.calibration.metrics.binomial import binomial_cdf, upper_bound
from carot.calibration.metrics.numbers import Numbers
from carot.errors import CalibrationError

if TYPE_CHECKING:
    from torch import Tensor

DELTA = 0.05
STARTS = (10, 25, 50, 75, 100)
"""Hundredths of the images."""


class RiskThreshold(Numbers):
    """Accept an image if its confidence is `threshold` or more; abstain otherwise."""

    threshold: float = Field(ge=0, description="0 accepts every image.")
    max_risk: float = Field(gt=0, lt=1, description="The share of wrong answers asked for.")
    delta: float = Field(gt=0, lt=1, description="The chance that the split misleads.")
    n: int = Field(ge=1, description="Calibration images.")
    accepted: int = Field(ge=1, description="How many of them are accepted.")
    wrong: int = Field(ge=0, description="How many of those are wrong.")
    bound: float = Field(
        ge=0, le=1, description="Upper bound of the accepted images' risk at level delta / 5."
    )


def fit_risk(
    confidence_N: Tensor, correct_N: Tensor, max_risk: float, *, delta: float = DELTA
) -> RiskThreshold:
    """The lowest threshold that is proved to keep the risk.

    Args:
        confidence_N: of the top class of the calibration images, as they will be served.
        correct_N: whether it is right, bool.
        max_risk: share of wrong answers among those accepted, in (0, 1).
        delta: chance of a split for which this does not hold, in (0, 1).

    Raises:
        CalibrationError: `max_risk` or `delta` outside (0, 1), or no threshold that is proved to
            keep the risk (`field` is theirs); empty, misshapen or non-finite input.
    """
    from carot.calibration.metrics.inputs import check_confidences

    for name, value in (("max_risk", max_risk), ("delta", delta)):
        if not 0 < value < 1:
            message = f"{name} must lie between 0 and 1, not {value:g}"
            raise CalibrationError(message, field=name)
    check_confidences(confidence_N, correct_N)
    ordered_N, order_N = confidence_N.double().sort(descending=True, stable=True)
    confidences = ordered_N.tolist()
    wrong = (~correct_N[order_N]).cumsum(0).tolist()
    steps = [_accepted(confidences, place) for place in _places(len(confidences))]
    level = delta / len(STARTS)
    farthest = -1
    for start in STARTS:
        # What an earlier sequence has passed need not be tested again.
        place = start - 1
        while place < len(steps) and (
            place <= farthest or _rejected(steps[place], wrong, max_risk, level)
        ):
            farthest = max(farthest, place)
            place += 1
    if farthest < 0:
        raise CalibrationError(_none_reaches(steps, wrong, max_risk, delta), field="max_risk")
    m = steps[farthest]
    return RiskThreshold(
        # Just above the most confident image that is not accepted.
        threshold=0.0 if m == len(confidences) else math.nextafter(confidences[m], math.inf),
        max_risk=max_risk,
        delta=delta,
        n=len(confidences),
        accepted=m,
        wrong=wrong[m - 1],
        bound=upper_bound(wrong[m - 1], m, level),
    )


def images_needed(max_risk: float, delta: float = DELTA) -> int:
    """Accepted images without a single error that it takes to prove `max_risk`."""
    return math.ceil(math.log(delta / len(STARTS)) / math.log1p(-max_risk))


def _rejected(m: int, wrong: list[int], max_risk: float, level: float) -> bool:
    """Whether the m most confident show that the risk is not above `max_risk`."""
    return m > 0 and binomial_cdf(wrong[m - 1], m, max_risk) <= level


def _places(n: int) -> list[int]:
    """How many images each step accepts, in hundredths of all."""
    return [max(1, n * step // 100) for step in range(1, 101)]


def _accepted(confidences: list[float], place: int) -> int:
    """`place`, or fewer: of images as confident as the first that is left out, none is accepted."""
    if place >= len(confidences):
        return len(confidences)
    edge = confidences[place]
    while place > 0 and confidences[place - 1] == edge:
        place -= 1
    return place


def _none_reaches(steps: list[int], wrong: list[int], max_risk: float, delta: float) -> str:
    """What to say: which risk could be had, and how many images it takes at least."""
    starts = [steps[start - 1] for start in STARTS if steps[start - 1] > 0]
    least = min(upper_bound(wrong[m - 1], m, delta / len(STARTS)) for m in starts)
    # Rounded up, so that it can be asked for.
    shown = math.ceil(round(1000 * least, 9)) / 1000
    least_shown = f"the least that can be shown is {shown:g}; " if shown < 1 else ""
    return (
        f"no confidence threshold is proved to keep the risk at {max_risk:g}; {least_shown}"
        f"without a single error it takes {images_needed(max_risk, delta)} accepted calibration "
        f"images, and there are {steps[-1]} in all"
    )
