"""A tiny model in float64 and drawn features: what a method's loss is compared on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carot.models.clip import ClipModel
from carot.training.methods import Features
from tests.carot.tiny import tiny_model

LABELS = [0, 1, 0, 2, 1]
WIDTH = 16


def wide_model(log_scale: float = 2.0) -> ClipModel:
    model = tiny_model()
    model.module.double()
    with torch.no_grad():
        model.logit_scale.fill_(log_scale)
    return model


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def drawn_features(seed: int = 0, requires_grad: bool = False) -> Features:
    """Unit-length float64 features of five samples."""
    images, captions = F.normalize(drawn(2, len(LABELS), WIDTH, seed=seed), dim=-1)
    return Features(
        images.clone().requires_grad_(requires_grad),
        captions.clone().requires_grad_(requires_grad),
        torch.tensor(LABELS),
    )


@dataclass
class FakeEncoder:
    """Stands in for the trainer's encoder.

    Attributes:
        batch: what a model makes of the step's samples; None where nobody may ask.
        beside: what it makes of the step's anchors; likewise.
        asked: the modules that were encoded with, in order.
    """

    batch: Callable[[ClipModel], Features] | None = None
    beside: Callable[[ClipModel], Tensor] | None = None
    asked: list[nn.Module] = field(default_factory=list)

    def __call__(self, model: ClipModel) -> Features:
        assert self.batch is not None, "a term that is switched off encodes nothing"
        self.asked.append(model.module)
        return self.batch(model)

    def anchors(self, model: ClipModel) -> Tensor:
        assert self.beside is not None, "a term that is switched off encodes no anchors"
        self.asked.append(model.module)
        return self.beside(model)


never_encodes = FakeEncoder()
