"""CaRot: contrastive loss, orthogonality constraint, self-distillation (NeurIPS 2024, §4).

L = L_MCL + ρ-term + λ_OC ‖W W' − I‖² + λ_SD (KL(q̃ᴵ‖qᴵ) + KL(q̃ᵀ‖qᵀ)), eq. 3 to 5. W is the visual
projection, q and q̃ the in-batch similarity distributions of student and teacher, in both
directions. Constants (A.3): λ_OC = 0.2, λ_SD = 1.5; released code: ρ-term weight 0.05, unsquared.
The teacher is a momentum average (A.3), or any other of `carot.training.teachers`. Not in the
paper: an anchor (`carot.training.methods.anchor`), switched off unless its weight says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from carot.distributed import Share
from carot.models.clip import ClipModel
from carot.specs import CarotMethod
from carot.training.distillation import relation_loss
from carot.training.methods.anchor import Anchor
from carot.training.methods.base import Encode, Features, Look, Loss
from carot.training.methods.distilled import Distilled, Divergence


class Carot(Distilled):
    """Distils in-batch similarities; holds the student at its anchors where there are any.

    Args:
        zero_shot_weights: makes the start's class weights; called only where there is an anchor.
        seed: of the anchors.
    """

    def __init__(
        self,
        spec: CarotMethod,
        model: ClipModel,
        total_steps: int,
        zero_shot_weights: Callable[[], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        distillation = Divergence(
            "distillation", spec.distillation_weight, lambda s, t, _: relation_loss(s, t)
        )
        super().__init__(spec, model, total_steps, [distillation])
        self.anchor: Anchor | None = None
        if spec.anchor.weight > 0:
            assert zero_shot_weights is not None
            self.anchor = Anchor(spec.anchor, model, zero_shot_weights(), seed)

    def prepare(self, look: Look) -> None:
        if self.anchor is not None:
            self.anchor.prepare(look)

    def anchors(self, step: int, images_NCHW: Tensor, share: Share | None = None) -> Tensor | None:
        return None if self.anchor is None else self.anchor.images(step, images_NCHW, share)

    def teach(self, step: int, encode: Encode) -> Features | None:
        if self.anchor is not None:
            self.anchor.ask(encode)
        return super().teach(step, encode)

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        loss = super().loss(features, teacher)
        if self.anchor is None or features.anchors_AD is None:
            return loss
        divergence = self.anchor.divergence(features.anchors_AD)
        total = loss.total + self.anchor.spec.weight * divergence
        return Loss(total, {**loss.terms, "anchor": divergence})
