"""What a method of fine-tuning says: which parameters train, what a step's loss is, what follows.

The trainer encodes, a method only compares features. So a method needs no knowledge of
micro-batches, precision or devices, and its loss sees the whole batch at once.

Order of the calls, with steps counted from 0: prepare; before_step, anchors, teach, loss,
(optimizer), after_step; `outcome` whenever somebody wants to know what the run would end with.

Shape suffixes: B samples of a step, U distinct captions among them, A anchors, D embedding width,
C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from carot.distributed import Share
from carot.models.clip import ClipModel
from carot.specs import TrainingSpec
from carot.training.schedules import learning_rate_at
from carot.warnings import CodedWarning


@dataclass(frozen=True)
class Features:
    """What the towers made of one step's samples.

    Attributes:
        images_BD: unit-length image features.
        captions_BD: unit-length features of each sample's caption; None where the method does not
            use captions.
        labels_B: class indices.
        anchors_AD: unit-length features of the step's anchors; None where there are none, and on a
            teacher's side.
    """

    images_BD: Tensor
    captions_BD: Tensor | None
    labels_B: Tensor
    anchors_AD: Tensor | None = None

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


@dataclass(frozen=True)
class Outcome:
    """What a run ends with: weights, and a head where one was trained.

    Attributes:
        module: the towers to evaluate and to save; may be the live model itself.
        head_CD: trained class weights; None where the text tower makes the head.
    """

    module: nn.Module
    head_CD: Tensor | None = None


class Encode(Protocol):
    """Encodes what a step has with a given model, without gradient."""

    def __call__(self, model: ClipModel) -> Features:
        """Features of the batch, without its anchors."""

    def anchors(self, model: ClipModel) -> Tensor:
        """Unit-length features of the step's anchors, shape (A, D)."""


Look = Callable[[int], Features]
"""Features that the model has of up to so many training images, as evaluation sees them."""


class Method(ABC):
    """One method, bound to the model that it trains.

    Attributes:
        uses_captions: whether the trainer has to encode captions.
        trains: whether there is anything to train at all.
        warnings: what the run's user should know of how the method fits the model.

    Args:
        model: the model; a method may freeze parts of it, and may keep a teacher beside it.
        total_steps: optimizer steps of the whole run.
    """

    uses_captions: bool = True
    trains: bool = True

    def __init__(self, model: ClipModel, total_steps: int) -> None:
        self.model = model
        self.total_steps = total_steps
        self.warnings: list[CodedWarning] = []
        self.start_log_scale = float(model.logit_scale.detach())

    def modules(self) -> dict[str, nn.Module]:
        """Every module whose tensors a snapshot has to hold, the model's among them."""
        return {"model": self.model.module}

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that train, in any step of the run."""
        for name, parameter in self.model.module.named_parameters():
            if parameter.requires_grad:
                yield name, parameter

    def learning_rate(self, step: int, spec: TrainingSpec) -> float:
        """The rate of a step; by default one warm-up and one decay over the whole run."""
        return learning_rate_at(step, self.total_steps, spec.learning_rate, spec.warmup_fraction)

    def prepare(self, look: Look) -> None:
        """Called once before a run, with the starting model; also where a run is taken up again."""
        return

    def before_step(self, step: int) -> None:
        """Called in front of each step; a step taken up again after a stop is told, too."""
        return

    def anchors(self, step: int, images_NCHW: Tensor, share: Share | None = None) -> Tensor | None:
        """Images beside the batch whose features the loss is to see, shape (A, 3, H, W), or None.

        Args:
            images_NCHW: the batch's images as the model sees them.
            share: which of the batch's images these are, where several processes share it; the
                anchors of all of them are then to be those of the whole batch, in any order.
        """
        return None

    def teach(self, step: int, encode: Encode) -> Features | None:
        """What a teacher makes of the step's samples, or None."""
        return None

    @abstractmethod
    def loss(self, features: Features, teacher: Features | None) -> Loss:
        """The loss of a step over the whole batch."""

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Called behind each optimizer step."""
        # What does not train is left alone: it is the start's own.
        if self.model.logit_scale.requires_grad:
            self.model.clamp_logit_scale(self.start_log_scale)

    def outcome(self) -> Outcome:
        """What the run would end with, were it to end now."""
        return Outcome(self.model.module)
