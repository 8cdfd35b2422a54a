"""A rising map of the confidence, applied to logits. N images, C classes, K knots."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def with_confidence(
    logits_NC: Tensor, confidences: Sequence[float], values: Sequence[float]
) -> Tensor:
    """Log-probabilities whose largest is the mapped confidence of the top class.

    The others share what is left in the proportions they had. Where the second would overtake the
    first, both get the same but for the last digit: then the confidence is as low as keeps the
    ranking, and the first alone has the largest.

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
    log_N = mapped_N.log()[:, None]
    # A tie would be broken by the place of the classes, not by the logits.
    below_N = log_N.nextafter(log_N.new_tensor(-torch.inf))
    return others_NC.minimum(below_N).scatter(1, top_N[:, None], log_N)


def interpolated(x_N: Tensor, knots: Sequence[float], values: Sequence[float]) -> Tensor:
    """The map through (knots, values), linear in between and constant beyond."""
    knots_K, values_K = x_N.new_tensor(knots), x_N.new_tensor(values)
    right_N = torch.searchsorted(knots_K, x_N).clamp_max(len(knots) - 1)
    left_N = (right_N - 1).clamp_min(0)
    width_N = knots_K[right_N] - knots_K[left_N]
    share_N = torch.where(width_N > 0, (x_N - knots_K[left_N]) / width_N, 0.0).clamp(0, 1)
    return values_K[left_N].lerp(values_K[right_N], share_N)
