"""Zero-shot: the model as it is, with the head that its text tower makes (Radford et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from carot.training.methods.base import Features, Loss, Method


class ZeroShot(Method):
    """Trains nothing."""

    trains = False

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from ()

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        raise NotImplementedError("zero-shot has no loss: it trains nothing")
