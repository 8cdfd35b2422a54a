"""Methods that train a linear head on the image tower, which starts as the zero-shot head.

As WiSE-FT (Wortsman et al., CVPR 2022) does it: logits = f(x) W', f(x) of unit length, W the
zero-shot prototypes times exp(s). The text tower is frozen.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carot.models.clip import ClipModel
from carot.training.methods.base import Features, Method, Outcome

IMAGE_TOWER = "visual."


class HeadMethod(Method):
    """A head, and an image tower that trains with it or does not.

    Args:
        weight_CD: the head to start from, prototypes times the logit scale.
    """

    uses_captions = False
    trains_tower = True
    """Whether the image tower trains in any step of the run."""

    def __init__(self, model: ClipModel, total_steps: int, weight_CD: Tensor) -> None:
        super().__init__(model, total_steps)
        classes, width = weight_CD.shape
        self.classifier = nn.Linear(
            width, classes, bias=False, device=weight_CD.device, dtype=weight_CD.dtype
        )
        with torch.no_grad():
            self.classifier.weight.copy_(weight_CD)
        # Where adapters train, most of a tower is frozen already, and stays so.
        self.tower = {
            name: parameter
            for name, parameter in model.module.named_parameters()
            if self.trains_tower and name.startswith(IMAGE_TOWER) and parameter.requires_grad
        }
        model.module.requires_grad_(False)
        for parameter in self.tower.values():
            parameter.requires_grad_(True)

    def set_tower(self, *, training: bool) -> None:
        """Let the image tower train in the steps to come, or keep it as it is.

        A frozen tower is in evaluation mode, too: otherwise batch normalisation would go on
        gathering statistics, and dropout on dropping. Without a parameter that needs a gradient
        no graph of it is built.
        """
        for parameter in self.tower.values():
            parameter.requires_grad_(training)
        self.model.module.get_submodule("visual").train(training)

    def before_step(self, step: int) -> None:
        # In each step: the trainer has put the whole model into training mode.
        self.set_tower(training=self.trains_tower)

    def modules(self) -> dict[str, nn.Module]:
        return {**super().modules(), "classifier": self.classifier}

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self.tower.items()
        yield "classifier.weight", self.classifier.get_parameter("weight")

    def cross_entropy(self, features: Features, label_smoothing: float) -> Tensor:
        """Of the head's logits, mean over the batch; smoothed towards uniform over the classes."""
        logits_BC = self.classifier(features.images_BD)
        return F.cross_entropy(logits_BC, features.labels_B, label_smoothing=label_smoothing)

    def outcome(self) -> Outcome:
        return Outcome(self.model.module, self.classifier.weight.detach())
