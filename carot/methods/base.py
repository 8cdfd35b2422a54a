"""What a method of fine-tuning says: which parameters train, what a step's loss is, what follows.

The trainer encodes, a method only compares features. So a method needs no knowledge of
micro-batches, precision or devices, and its loss sees the whole batch at once.

Shape suffixes: B samples of a step, U distinct captions among them, D embedding width, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from carot.models import ClipModel


@dataclass(frozen=True)
class Features:
    """What the towers made of one step's samples.

    Attributes:
        images_BD: unit-length image features.
        captions_BD: unit-length features of each sample's caption; None where the method does not
            use captions.
        labels_B: class indices.
    """

    images_BD: Tensor
    captions_BD: Tensor | None
    labels_B: Tensor

    def captions(self) -> Tensor:
        """The caption features of a method that asked for them."""
        if self.captions_BD is None:
            raise RuntimeError("this method asked for no captions")
        return self.captions_BD


@dataclass(frozen=True)
class Loss:
    """The step's loss and its terms before weighting, for the record."""

    total: Tensor
    terms: dict[str, Tensor]


Encode = Callable[[ClipModel], Features]
"""Encodes the step's samples with a given model, without gradient."""


class Method(ABC):
    """One method, bound to the model that it trains.

    Args:
        model: the model; a method may freeze parts of it, and may keep a teacher beside it.
        total_steps: optimizer steps of the whole run.
    """

    uses_captions: bool = True

    def __init__(self, model: ClipModel, total_steps: int) -> None:
        self.model = model
        self.total_steps = total_steps

    def modules(self) -> dict[str, nn.Module]:
        """Every module whose tensors a snapshot has to hold, the model's among them."""
        return {"model": self.model.module}

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that train."""
        for name, parameter in self.model.module.named_parameters():
            if parameter.requires_grad:
                yield name, parameter

    @abstractmethod
    def loss(self, features: Features, teacher: Features | None) -> Loss:
        """The loss of a step over the whole batch."""

    def teach(self, step: int, encode: Encode) -> Features | None:
        """What a teacher makes of the step's samples, or None; steps are counted from 0."""
        return None

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Called behind each optimizer step, counted from 0."""
        self.model.clamp_logit_scale()

    def head(self) -> Tensor | None:
        """Trained class weights of shape (C, D), or None where the text tower makes the head."""
        return None
