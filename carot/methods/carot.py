"""CaRot: contrastive loss, orthogonality constraint, self-distillation (NeurIPS 2024, §4).

L = L_MCL + ρ-term + λ_OC ‖W W' − I‖² + λ_SD (KL(q̃ᴵ‖qᴵ) + KL(q̃ᵀ‖qᵀ)), eq. 3 to 5. W is the visual
projection, q and q̃ the in-batch similarity distributions of student and teacher, in both
directions. Constants (A.3): λ_OC = 0.2, λ_SD = 1.5; released code: ρ-term weight 0.05, unsquared.

Order within a step, as released: student, then teacher (from the second step on), then the
optimizer, then the teacher's update when one is due. The student is what is evaluated and saved.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from carot.losses import cross_norm, distillation_loss, orthogonality
from carot.methods.base import Encode, Features, Loss, Method
from carot.methods.flyp import contrastive_term
from carot.models import ClipModel
from carot.specs import CarotMethod
from carot.teachers import MovingAverageTeacher, momentum_at, update_due

PUBLISHED_UPDATES = 50
"""The published run updates its teacher every 500 of 25,000 steps."""


class Carot(Method):
    """Each of its terms is switched off by a weight of zero, and then costs nothing."""

    def __init__(self, spec: CarotMethod, model: ClipModel, total_steps: int) -> None:
        super().__init__(model, total_steps)
        self.spec = spec
        self.teacher = MovingAverageTeacher(model.module) if spec.distillation_weight > 0 else None
        every = spec.teacher.update_every
        self.update_every = every or max(1, total_steps // PUBLISHED_UPDATES)
        # Asked for here, a tower without a known projection fails before the first step.
        if spec.orthogonality_weight > 0:
            model.gram_projection()
        if spec.cross_norm_weight > 0:
            model.visual_projection()
            model.text_projection()

    def modules(self) -> dict[str, nn.Module]:
        modules = super().modules()
        if self.teacher is not None:
            modules["teacher"] = self.teacher.module
        return modules

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        spec = self.spec
        terms = {"contrastive": contrastive_term(self.model, features, spec.positives)}
        total = terms["contrastive"]
        if spec.cross_norm_weight > 0:
            terms["cross_norm"] = cross_norm(
                self.model.visual_projection(), self.model.text_projection(), spec.cross_norm_form
            )
            total = total + spec.cross_norm_weight * terms["cross_norm"]
        if spec.orthogonality_weight > 0:
            terms["orthogonality"] = orthogonality(
                self.model.gram_projection(), spec.orthogonality_form
            )
            total = total + spec.orthogonality_weight * terms["orthogonality"]
        if self.teacher is not None and teacher is not None:
            terms["distillation"] = distillation_loss(
                similarity_logits(features, self.model.logit_scale),
                similarity_logits(teacher, self.teacher.module.get_parameter("logit_scale")),
            )
            total = total + spec.distillation_weight * terms["distillation"]
        return Loss(total, terms)

    def teach(self, step: int, encode: Encode) -> Features | None:
        # Before the first update the teacher is the student, and the divergence is zero.
        if self.teacher is None or step == 0:
            return None
        return encode(self.model.with_module(self.teacher.module))

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        super().after_step(step)
        if self.teacher is not None and update_due(step, self.update_every):
            schedule = self.spec.teacher
            momentum = momentum_at(
                step,
                self.total_steps,
                initial=schedule.initial_momentum,
                final=schedule.final_momentum,
                warmup_fraction=schedule.warmup_fraction,
            )
            self.teacher.update(self.model.module, momentum)


def similarity_logits(features: Features, log_scale: Tensor) -> Tensor:
    """Image-to-caption logits of a batch, shape (B, B)."""
    return log_scale.exp() * features.images_BD @ features.captions().t()
