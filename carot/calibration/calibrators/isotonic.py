"""Isotonic regression of right answers on the confidence of the top class.

Of all maps that never fall, the one nearest to the outcomes in squares (and in likelihood), found
by pooling neighbours that fall (Ayer et al. 1955; Zadrozny and Elkan 2002 for the use). Images of
equal confidence are one point. Only the top class is looked at: one map per class would need
images of every class at every confidence. Shape suffixes: N images, C classes, G groups, K knots.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.calibrator import IsotonicCalibrator
from carot.calibration.calibrators.origin import Origin, origin_fields
from carot.calibration.metrics.likelihood import (
    negative_log_likelihood,
    raw_negative_log_likelihood,
)
from carot.calibration.metrics.metrics import top_label


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
