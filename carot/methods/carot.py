"""CaRot: contrastive loss, orthogonality constraint, self-distillation (NeurIPS 2024, §4).

L = L_MCL + ρ-term + λ_OC ‖W W' − I‖² + λ_SD (KL(q̃ᴵ‖qᴵ) + KL(q̃ᵀ‖qᵀ)), eq. 3 to 5. W is the visual
projection, q and q̃ the in-batch similarity distributions of student and teacher, in both
directions. Constants (A.3): λ_OC = 0.2, λ_SD = 1.5; released code: ρ-term weight 0.05, unsquared.
The teacher is a momentum average (A.3), or any other of `carot.teachers`.
"""

from __future__ import annotations

from carot.distillation import relation_loss
from carot.methods.distilled import Distilled, Divergence
from carot.models import ClipModel
from carot.specs import CarotMethod


class Carot(Distilled):
    """Distils in-batch similarities."""

    def __init__(self, spec: CarotMethod, model: ClipModel, total_steps: int) -> None:
        distillation = Divergence(
            "distillation", spec.distillation_weight, lambda s, t, _: relation_loss(s, t)
        )
        super().__init__(spec, model, total_steps, [distillation])
