"""FLYP: fine-tune as the model was pre-trained (Goyal et al., CVPR 2023).

L = ½ (CE(image → caption) + CE(caption → image)) over the batch, both towers trained; captions are
those that came with an image, or templates filled with its class name, one drawn per sample.
Classes that repeat within a batch make the published loss push equal captions apart, so
`positives: class` is the default here.
"""

from __future__ import annotations

from carot.models.clip import ClipModel
from carot.specs import FlypMethod
from carot.training.methods.base import Features, Loss, Method
from carot.training.methods.contrastive import contrastive_term


class Flyp(Method):
    """Contrastive fine-tuning of both towers."""

    def __init__(self, spec: FlypMethod, model: ClipModel, total_steps: int) -> None:
        super().__init__(model, total_steps)
        self.spec = spec

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        contrastive = contrastive_term(self.model, features, self.spec.positives)
        return Loss(contrastive, {"contrastive": contrastive})
