"""Plain fine-tuning: cross-entropy on a linear head that starts as the zero-shot head.

As WiSE-FT (Wortsman et al., CVPR 2022) does it: logits = f(x) W', f(x) of unit length, W the
zero-shot prototypes times exp(s); image tower and head are trained, the text tower is frozen.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carot.methods.base import Features, Loss, Method, Outcome
from carot.models import ClipModel
from carot.specs import FinetuneMethod


class Finetune(Method):
    """Cross-entropy on image tower and head.

    Args:
        weight_CD: the head to start from, prototypes times the logit scale.
    """

    uses_captions = False

    def __init__(
        self, spec: FinetuneMethod, model: ClipModel, total_steps: int, weight_CD: Tensor
    ) -> None:
        super().__init__(model, total_steps)
        self.spec = spec
        classes, width = weight_CD.shape
        self.classifier = nn.Linear(width, classes, bias=False, device=weight_CD.device)
        with torch.no_grad():
            self.classifier.weight.copy_(weight_CD)
        for name, parameter in model.module.named_parameters():
            parameter.requires_grad_(name.startswith("visual."))

    def modules(self) -> dict[str, nn.Module]:
        return {**super().modules(), "classifier": self.classifier}

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from super().parameters()
        yield "classifier.weight", self.classifier.get_parameter("weight")

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        logits_BC = self.classifier(features.images_BD)
        cross_entropy = F.cross_entropy(
            logits_BC, features.labels_B, label_smoothing=self.spec.label_smoothing
        )
        return Loss(cross_entropy, {"cross_entropy": cross_entropy})

    def outcome(self) -> Outcome:
        return Outcome(self.model.module, self.classifier.weight.detach())
