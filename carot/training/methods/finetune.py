"""Plain fine-tuning: cross-entropy on a linear head that starts as the zero-shot head.

L = CE(f(x) W', y), with image tower and head trained (see `carot.training.methods.head`).
"""

from __future__ import annotations

from torch import Tensor

from carot.models.clip import ClipModel
from carot.specs import FinetuneMethod, LinearProbeMethod, LpFtMethod
from carot.training.methods.base import Features, Loss
from carot.training.methods.head import HeadMethod


class Finetune(HeadMethod):
    """Cross-entropy on image tower and head."""

    def __init__(
        self,
        spec: FinetuneMethod | LinearProbeMethod | LpFtMethod,
        model: ClipModel,
        total_steps: int,
        weight_CD: Tensor,
    ) -> None:
        super().__init__(model, total_steps, weight_CD)
        self.label_smoothing = spec.label_smoothing

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        cross_entropy = self.cross_entropy(features, self.label_smoothing)
        return Loss(cross_entropy, {"cross_entropy": cross_entropy})
