"""Stub until the methods branch lands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def interpolate(start: Weights, finetuned: Weights, alpha: float) -> dict[str, Tensor]:
    return {
        k: (v + (finetuned[k] - v) * alpha if alpha != 1 else finetuned[k])
        if v.is_floating_point()
        else v
        for k, v in start.items()
    }


def uniform_soup(weights: Sequence[Weights]) -> dict[str, Tensor]:
    return {
        k: torch.stack([w[k].double() for w in weights]).mean(0).to(v)
        for k, v in weights[0].items()
    }


def model_stock(start: Weights, weights: Sequence[Weights]) -> dict[str, Tensor]:
    return uniform_soup(weights)
