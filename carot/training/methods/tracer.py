"""TRACER: contrastive loss and four distillation terms from a trajectory's average (ICML 2026).

L = L_MCL + ρ-term + λ_SD (w_FD FD + w_CRD CRD + w_ICL ICL + w_X CrossKD), §4 and §C.6. f, g are
unit-length image and caption features, s = exp(logit scale), θ the student, ψ the teacher:

FD       squared difference of f_θ, f_ψ plus that of g_θ, g_ψ
CRD      KL(softmax(s_ψ f_ψ g_ψ') ‖ softmax(s_θ f_θ g_θ')), and from captions to images
ICL      cross-entropy of softmax(s_θ f_θ g_ψ') and softmax(s_θ g_θ f_ψ'), halved
CrossKD  KL(softmax(s_ψ f_ψ g_ψ') ‖ softmax(s_θ f_θ g_ψ')), and from captions to images, halved

Paper and released code differ in two constants. FD: the paper sums over the D entries of a feature,
the code takes their mean. CRD: the code halves the sum of both directions, the paper (eq. 23) does
not. The code's forms are implemented, since the published weights (λ_SD = 0.9, w_FD = 2000, the
others 1, ρ-term 0.05 unsquared, no orthogonality constraint) and results belong to them. The
paper's are w_FD = D and w_CRD = 2.

The teacher is a trajectory's average updated every step (§3.4), or any other of
`carot.training.teachers`. As in the code no term is computed in the first step. `positives: class`
holds for ICL, too.
"""

from __future__ import annotations

from carot.models.clip import ClipModel
from carot.specs import TracerMethod
from carot.training.distillation import cross_loss, feature_loss, interaction_loss, relation_loss
from carot.training.methods.distilled import Distilled, Divergence


class Tracer(Distilled):
    """Distils features, their relations, and what student and teacher make of each other."""

    def __init__(self, spec: TracerMethod, model: ClipModel, total_steps: int) -> None:
        over_all = spec.distillation_weight
        divergences = [
            Divergence(
                "feature", over_all * spec.feature_weight, lambda s, t, _: feature_loss(s, t)
            ),
            Divergence(
                "relation", over_all * spec.relation_weight, lambda s, t, _: relation_loss(s, t) / 2
            ),
            Divergence("interaction", over_all * spec.interaction_weight, interaction_loss),
            Divergence("cross", over_all * spec.cross_weight, lambda s, t, _: cross_loss(s, t)),
        ]
        super().__init__(spec, model, total_steps, divergences)
