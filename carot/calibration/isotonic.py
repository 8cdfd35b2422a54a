"""Isotonic regression of right answers on the confidence of the top class.

Of all maps that never fall, the one nearest to the outcomes in squares (and in likelihood), found
by pooling neighbours that fall (Ayer et al. 1955; Zadrozny and Elkan 2002 for the use). Images of
equal confidence are one point. Only the top class is looked at: one map per class would need
images of every class at every confidence. Shape suffixes: N images, C classes, G groups, K knots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from carot.calibration.calibrator import IsotonicCalibrator
from carot.calibration.likelihood import negative_log_likelihood, raw_negative_log_likelihood
from carot.calibration.metrics import top_label
from carot.calibration.origin import Origin, origin_fields


@torch.no_grad()
def fit_isotonic(
    logits_NC: Tensor, labels_N: Tensor, **origin: Unpack[Origin]
) -> IsotonicCalibrator:
    """The rising map of confidences to shares of right answers.

    Its values stay between 1 / (n + 2) and (n + 1) / (n + 2), what the rule of succession gives
    for n images that are all wrong or all right: no share of finitely many images shows more.
    `at_bound` says that they were all wrong or all right.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    confidence_N, correct_N = top_label(logits_NC, labels_N)
    n, right = len(labels_N), int(correct_N.sum())
    blocks = pooled(confidence_N, correct_N)
    fitted = IsotonicCalibrator(
        confidences=tuple(c for low, high, _ in blocks for c in dict.fromkeys((low, high))),
        values=tuple(
            min(max(value, 1 / (n + 2)), (n + 1) / (n + 2))
            for low, high, value in blocks
            for _ in dict.fromkeys((low, high))
        ),
        n=n,
        nll_before=float(raw_negative_log_likelihood(logits_NC, labels_N).mean()),
        nll_after=0.0,
        converged=True,
        at_bound=right in (0, n),
        **origin_fields(origin),
    )
    after = float(negative_log_likelihood(fitted, logits_NC, labels_N).mean())
    return fitted.model_copy(update={"nll_after": after})


def pooled(confidence_N: Tensor, correct_N: Tensor) -> list[tuple[float, float, float]]:
    """Blocks (lowest confidence, highest, share of right answers), both rising from each to next.

    Neighbours whose shares do not rise are pooled until all do.
    """
    place_G, group_N, size_G = torch.unique(confidence_N, return_inverse=True, return_counts=True)
    right_G = torch.bincount(group_N[correct_N], minlength=len(size_G))
    blocks: list[tuple[float, float, int, int]] = []
    for place, *counted in zip(place_G.tolist(), right_G.tolist(), size_G.tolist(), strict=True):
        low, (right, size) = place, counted
        # Shares are compared in integers: pooling must not hang on rounding.
        while blocks and blocks[-1][2] * size >= right * blocks[-1][3]:
            low, _, more_right, more = blocks.pop()
            right, size = right + more_right, size + more
        blocks.append((low, place, right, size))
    return [(low, high, right / size) for low, high, right, size in blocks]


def with_confidence(
    logits_NC: Tensor, confidences: Sequence[float], values: Sequence[float]
) -> Tensor:
    """Log-probabilities whose largest is the mapped confidence of the top class.

    The others share what is left in the proportions they had. Where the second would overtake the
    first, both get the same: then the confidence is as low as keeps the ranking.

    Args:
        logits_NC: finite logits.
        confidences: knots of the map, strictly rising.
        values: what it is there; linear in between, constant beyond.
    """
    logits_NC = logits_NC.double()
    highest_N, top_N = logits_NC.max(dim=1)
    confidence_N = 1.0 / (logits_NC - highest_N[:, None]).exp().sum(dim=1)
    others_NC = logits_NC.scatter(1, top_N[:, None], -torch.inf).log_softmax(dim=1)
    second_N = others_NC.amax(dim=1).exp()
    mapped_N = interpolated(confidence_N, confidences, values)
    mapped_N = mapped_N.maximum(second_N / (1 + second_N))
    others_NC = others_NC + (-mapped_N).log1p()[:, None]
    # Rounding alone could still put the second a digit above the first.
    log_N = mapped_N.log()[:, None]
    return others_NC.minimum(log_N).scatter(1, top_N[:, None], log_N)


def interpolated(x_N: Tensor, knots: Sequence[float], values: Sequence[float]) -> Tensor:
    """The map through (knots, values), linear in between and constant beyond."""
    knots_K, values_K = x_N.new_tensor(knots), x_N.new_tensor(values)
    right_N = torch.searchsorted(knots_K, x_N).clamp_max(len(knots) - 1)
    left_N = (right_N - 1).clamp_min(0)
    width_N = knots_K[right_N] - knots_K[left_N]
    share_N = torch.where(width_N > 0, (x_N - knots_K[left_N]) / width_N, 0.0).clamp(0, 1)
    return values_K[left_N].lerp(values_K[right_N], share_N)
