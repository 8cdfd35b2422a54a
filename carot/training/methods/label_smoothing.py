"""Label smoothing: FLYP with smoothed targets, a comparison of CaRot (§B.2, Table E).

L = ½ (CE(image → caption) + CE(caption → image)), where the target of a row is
(1 − ε) · (what it is in FLYP) + ε / B, B the batch. CaRot gives no ε; 0.1, the usual one (Szegedy
et al., CVPR 2016), is the default. The released code's `--ls` is the same loss for pairs.
"""

from __future__ import annotations

from carot.models.clip import ClipModel
from carot.specs import LabelSmoothingMethod
from carot.training.methods.base import Features, Loss, Method
from carot.training.methods.contrastive import contrastive_term


class LabelSmoothing(Method):
    """Contrastive fine-tuning of both towers towards softer targets."""

    def __init__(self, spec: LabelSmoothingMethod, model: ClipModel, total_steps: int) -> None:
        super().__init__(model, total_steps)
        self.spec = spec

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        spec = self.spec
        contrastive = contrastive_term(self.model, features, spec.positives, spec.smoothing)
        return Loss(contrastive, {"contrastive": contrastive})
