"""Models made of the weights of others, as pure functions of state dicts.

Weights are averaged in float64 and returned in the type of the first model given. Integer and
boolean tensors (counters, masks) have no average: they are taken from one of the models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from carot.errors import CheckpointError

State = Mapping[str, Tensor]
LISTED = 5
"""Names that an error message lists."""


def interpolate(start: State, finetuned: State, alpha: float) -> dict[str, Tensor]:
    """Weights between two models, θ = (1 − α) θ_start + α θ_finetuned (WiSE-FT, CVPR 2022, eq. 1).

    Exact at α = 0 and 1, and where both are equal. Integers come from the nearer of the two, at
    α = ½ from `finetuned`.

    Raises:
        CheckpointError: the models differ in the names or shapes of their tensors.
    """
    _check_alike([start, finetuned])

    def between(name: str) -> Tensor:
        first, last = start[name], finetuned[name]
        if not first.is_floating_point():
            return (first if alpha < 0.5 else last).to(first.dtype, copy=True)
        return torch.lerp(first.double(), last.double(), alpha).to(first.dtype)

    return {name: between(name) for name in start}


def uniform_soup(models: Sequence[State]) -> dict[str, Tensor]:
    """The mean of the weights (model soups, ICML 2022, §2); exact where all are equal.

    Integers come from the first model.

    Raises:
        CheckpointError: there are no models, or they differ in names or shapes.
    """
    _check_alike(models)
    first = models[0]
    return {
        name: _mean([model[name] for model in models]).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for name, value in first.items()
    }


def model_stock(start: State, models: Sequence[State]) -> dict[str, Tensor]:
    """The mean of the weights drawn towards the start, tensor by tensor (Model Stock, ECCV 2024).

    w = t w_mean + (1 − t) w_0, t = k cos θ / (1 + (k − 1) cos θ), for k models; cos θ is the mean,
    over pairs of models, of the cosine between their differences from the start. (The paper speaks
    of one angle; the mean of cosines is what mergekit takes for k > 2.)

    A difference of zero has no direction; its pairs count as a cosine of 0, so a tensor that none
    or but one of the models changed stays the start's. A negative mean cosine, outside the
    formula's geometry, counts as 0, too, which keeps t between 0 and 1. The one difference of a
    scalar, such as the logit scale's, makes a cosine of 1 or −1. Integers come from the first of
    `models`. Equal models are returned exactly.

    Raises:
        CheckpointError: fewer than two models, or names or shapes differ.
    """
    if len(models) < 2:
        raise CheckpointError(f"model_stock needs two checkpoints or more, not {len(models)}")
    _check_alike([start, *models])

    def stock(name: str) -> Tensor:
        origin = start[name]
        if not origin.is_floating_point():
            return models[0][name].to(origin.dtype, copy=True)
        share = _stock_share(origin, [model[name] for model in models])
        mean = _mean([model[name] for model in models])
        return torch.lerp(origin.double(), mean, share).to(origin.dtype)

    return {name: stock(name) for name in start}


def _stock_share(origin: Tensor, weights: Sequence[Tensor]) -> float:
    """Share t of the mean, from the angle between the weights' differences from `origin`."""
    differences = [(weight.double() - origin.double()).flatten() for weight in weights]
    squares = [float(difference.square().sum()) for difference in differences]
    cosines = []
    for i, j in combinations(range(len(weights)), 2):
        # One root of the product, not a product of roots: so equal differences give exactly 1.
        length = (squares[i] * squares[j]) ** 0.5
        inner = float((differences[i] * differences[j]).sum())
        cosines.append(inner / length if length > 0.0 else 0.0)
    cosine = min(1.0, max(0.0, sum(cosines) / len(cosines)))
    return len(weights) * cosine / (1.0 + (len(weights) - 1) * cosine)


def _mean(weights: Sequence[Tensor]) -> Tensor:
    """Mean in float64. A running one: it does not move where all are equal, whatever their type."""
    mean = weights[0].double()
    for count, weight in enumerate(weights[1:], start=2):
        mean = mean + (weight.double() - mean) / count
    return mean


def _check_alike(models: Sequence[State]) -> None:
    if not models:
        raise CheckpointError("there are no checkpoints to merge")
    first = models[0]
    for number, other in enumerate(models[1:], start=2):
        missing, extra = sorted(first.keys() - other.keys()), sorted(other.keys() - first.keys())
        if missing or extra:
            raise CheckpointError(
                f"checkpoints of different architectures: number {number} "
                f"lacks {_listed(missing)} and has {_listed(extra)} beyond the first"
            )
        shapes = [
            f"{name} ({_shape(first[name])} and {_shape(other[name])})"
            for name in first
            if first[name].shape != other[name].shape
        ]
        if shapes:
            raise CheckpointError(
                f"checkpoints of different shapes: number 1 and {number} differ in "
                f"{_listed(shapes)}"
            )


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _shape(tensor: Tensor) -> str:
    return "×".join(str(size) for size in tensor.shape) or "scalar"
