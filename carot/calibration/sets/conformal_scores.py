"""Nonconformity scores: how far down an image's classes one has to go to meet each of them.

Every score is a fixed function of the probabilities, without chance: the same image gets the same
set every time. In all of them the top class scores 0, so that it is in every set; what is derived
from a class' rank counts the classes that are strictly more probable, so that ties are in or out
together, whatever their order. A score that would be 1 less a small probability is minus its
logarithm instead: that orders classes alike, and tells 1e-20 from 1e-40, as very confident models
need. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from carot.calibration.metrics.inputs import slices
from carot.calibration.sets.coverage import Method
from carot.errors import CalibrationError

TOLERANCE = 1e-12
"""By how much a score may exceed a threshold, in units of 1 or of the threshold where that is more:
equal sums, added in another order, stay equal. Of logarithms it is a share of the probability."""

SMALLEST = 5e-324
"""Of float64: what is less has the score of this, 744.4."""

SUM_TOLERANCE = 0.02
"""How far a row may be from 1 in all, which bfloat16 reaches."""


class Regularisation(NamedTuple):
    """How RAPS and SAPS count ranks; the others do not.

    Attributes:
        penalty: λ, what each rank adds.
        free_ranks: RAPS adds nothing up to this rank, 1 or more.
    """

    penalty: float
    free_ranks: int


class Ranked(NamedTuple):
    """Per class: its probability, how much is above it and how much is not, its rank from 0.

    And the largest probability of all.
    """

    probability_NC: Tensor
    above_NC: Tensor
    rest_NC: Tensor
    rank_NC: Tensor
    highest_N1: Tensor


def _lac(ranked: Ranked, rule: Regularisation) -> Tensor:
    return -ranked.probability_NC.clamp_min(SMALLEST).log()


def _aps(ranked: Ranked, rule: Regularisation) -> Tensor:
    return -ranked.rest_NC.clamp_min(SMALLEST).log()


def _raps(ranked: Ranked, rule: Regularisation) -> Tensor:
    beyond_NC = (ranked.rank_NC + 1 - rule.free_ranks).clamp_min(0)
    return ranked.above_NC + rule.penalty * beyond_NC


def _saps(ranked: Ranked, rule: Regularisation) -> Tensor:
    return ranked.highest_N1 + rule.penalty * (ranked.rank_NC - 1)


SCORES: dict[Method, Callable[[Ranked, Regularisation], Tensor]] = {
    # −log p, for 1 − p (Sadinle et al. 2019): the smallest sets on average.
    "lac": _lac,
    # −log (1 − the mass above), for that mass (Romano et al. 2020, arXiv 2006.02544), the class
    # itself left out.
    "aps": _aps,
    # And λ for each rank beyond the free ones (Angelopoulos et al. 2021, arXiv 2009.14193).
    "raps": _raps,
    # The largest probability and λ for each rank beyond the second (Huang et al. 2024,
    # arXiv 2310.06430), with 0 for the uniform variable.
    "saps": _saps,
    # That of LAC, with a threshold for each class (Vovk 2012, arXiv 1209.2673).
    "mondrian": _lac,
}


@torch.no_grad()
def conformal_scores(probabilities_NC: Tensor, method: Method, rule: Regularisation) -> Tensor:
    """Score of every class, float64, (N, C); 0 for the top class, the higher, the stranger.

    Raises:
        CalibrationError: an unknown method (`field` is `method`), or no probabilities.
    """
    if method not in SCORES:
        raise CalibrationError(
            f"no method {method!r}; there are {', '.join(SCORES)}", field="method"
        )
    check_probabilities(probabilities_NC)
    scores_NC = torch.empty_like(probabilities_NC, dtype=torch.float64, requires_grad=False)
    for part in slices(probabilities_NC):
        scores_NC[part] = scores_of(probabilities_NC[part].double(), {method: rule})[method]
    return scores_NC


def scores_of(
    probabilities_NC: Tensor, rules: Mapping[Method, Regularisation]
) -> dict[Method, Tensor]:
    """The same for several methods, of float64 probabilities that are sorted but once."""
    ranked = _ranked(probabilities_NC)
    top_NC = ranked.rank_NC == 0
    return {
        method: SCORES[method](ranked, rule).masked_fill(top_NC, 0.0)
        for method, rule in rules.items()
    }


def within(scores_NC: Tensor, threshold_C: Tensor) -> Tensor:
    """Which scores are at most the threshold of their class, but for rounding; bool."""
    return scores_NC <= threshold_C + TOLERANCE * threshold_C.clamp_min(1.0)


def check_probabilities(probabilities_NC: Tensor) -> None:
    """Refuse what are no probabilities.

    Raises:
        CalibrationError: not (N, C) floating-point numbers from 0 to 1 whose rows sum to one.
    """
    if probabilities_NC.ndim != 2 or 0 in probabilities_NC.shape:
        raise CalibrationError(
            f"probabilities of shape (N, C), not {tuple(probabilities_NC.shape)}"
        )
    if not probabilities_NC.is_floating_point():
        raise CalibrationError(f"probabilities are not {probabilities_NC.dtype}")
    total_N = probabilities_NC.sum(dim=1, dtype=torch.float64)
    # Comparisons with NaN are false: it is caught here as well.
    whole = bool(((total_N - 1).abs() <= SUM_TOLERANCE).all())
    if not whole or float(probabilities_NC.amin()) < 0:
        raise CalibrationError("probabilities must lie from 0 to 1 and sum to one in every row")


def _ranked(probabilities_NC: Tensor) -> Ranked:
    sorted_NC, order_NC = probabilities_NC.sort(dim=1, descending=True)
    above_NC = sorted_NC.cumsum(dim=1) - sorted_NC
    # From the smallest on, so that small sums keep their digits.
    rest_NC = sorted_NC.flip(1).cumsum(dim=1).flip(1)
    # A class has the rank of the first of those that are as probable.
    place_C = torch.arange(sorted_NC.shape[1], device=sorted_NC.device)
    new_NC = torch.ones_like(sorted_NC, dtype=torch.bool)
    new_NC[:, 1:] = sorted_NC[:, 1:] < sorted_NC[:, :-1]
    rank_NC = torch.where(new_NC, place_C, 0).cummax(dim=1).values
    above_NC, rest_NC = above_NC.gather(1, rank_NC), rest_NC.gather(1, rank_NC)
    back_NC = torch.empty_like(order_NC).scatter_(1, order_NC, place_C.expand_as(order_NC))
    return Ranked(
        probabilities_NC,
        above_NC.gather(1, back_NC),
        rest_NC.gather(1, back_NC),
        rank_NC.gather(1, back_NC),
        sorted_NC[:, :1],
    )
