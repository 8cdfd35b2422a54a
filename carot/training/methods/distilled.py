"""What CaRot and TRACER have in common: a contrastive loss, constraints, an averaged teacher.

L = L_contrastive + ρ ‖W_v W_l'‖ + λ_OC ‖W W' − I‖ + Σ_i w_i D_i(student, teacher). The methods
differ in the divergences D_i and their weights. Order within a step, as released by both: student,
then teacher (from the second step on), then the optimizer, then the teacher's update when one is
due. The student is what is evaluated and saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from carot.models.clip import ClipModel
from carot.models.families import terms_left_out
from carot.models.projections import image_projection, text_projection
from carot.specs import CarotMethod, TracerMethod
from carot.training.distillation import Side
from carot.training.losses import cross_norm, orthogonality
from carot.training.methods.base import Encode, Features, Loss, Method
from carot.training.methods.contrastive import contrastive_term, positive_labels
from carot.training.teachers import Teacher, build_teacher


@dataclass(frozen=True)
class Divergence:
    """One term between student and teacher: its name in the record, its weight, its formula.

    The formula's last argument are the labels that tell positives, or None for pairs.
    """

    name: str
    weight: float
    between: Callable[[Side, Side, Tensor | None], Tensor]


class Distilled(Method):
    """Each term is switched off by a weight of zero, and then costs nothing.

    A constraint on linear maps that the towers do not have is left out, with a warning.

    Args:
        divergences: the terms of the distillation; there is no teacher when all weigh zero.
    """

    def __init__(
        self,
        spec: CarotMethod | TracerMethod,
        model: ClipModel,
        total_steps: int,
        divergences: Sequence[Divergence],
    ) -> None:
        super().__init__(model, total_steps)
        self.spec = spec
        self.divergences = [d for d in divergences if d.weight > 0]
        self.teacher = (
            build_teacher(spec.teacher, model.module, total_steps) if self.divergences else None
        )
        self.orthogonality_weight, self.cross_norm_weight = self._constraints()

    def _constraints(self) -> tuple[float, float]:
        """Weights of orthogonality and cross-norm; 0 where the towers allow of none."""
        weights = self.spec.orthogonality_weight, self.spec.cross_norm_weight
        image, text = image_projection(self.model.module), text_projection(self.model.module)
        warning = terms_left_out(
            self.model.architecture, *weights, image=image is not None, text=text is not None
        )
        if warning is None:
            return weights
        self.warnings.append(warning)
        return (
            0.0 if "orthogonality" in warning.names else weights[0],
            0.0 if "cross_norm" in warning.names else weights[1],
        )

    def modules(self) -> dict[str, nn.Module]:
        modules = super().modules()
        if self.teacher is not None:
            modules["teacher"] = self.teacher.module
        return modules

    def teach(self, step: int, encode: Encode) -> Features | None:
        # Before the first update the teacher is the student: there is nothing to learn from it.
        if self.teacher is None or step == 0:
            return None
        return encode(self._model_of(self.teacher))

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        spec = self.spec
        terms = {"contrastive": contrastive_term(self.model, features, spec.positives)}
        total = terms["contrastive"]
        if self.cross_norm_weight > 0:
            terms["cross_norm"] = cross_norm(
                self.model.visual_projection(), self.model.text_projection(), spec.cross_norm_form
            )
            total = total + self.cross_norm_weight * terms["cross_norm"]
        if self.orthogonality_weight > 0:
            terms["orthogonality"] = orthogonality(
                self.model.gram_projection(), spec.orthogonality_form
            )
            total = total + self.orthogonality_weight * terms["orthogonality"]
        if self.teacher is not None and teacher is not None:
            sides = _side(features, self.model), _side(teacher, self._model_of(self.teacher))
            labels_B = positive_labels(features, spec.positives)
            for divergence in self.divergences:
                terms[divergence.name] = divergence.between(*sides, labels_B)
                total = total + divergence.weight * terms[divergence.name]
        return Loss(total, terms)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        super().after_step(step)
        if self.teacher is not None:
            self.teacher.update(self.model.module, step)

    def _model_of(self, teacher: Teacher) -> ClipModel:
        return self.model.with_module(teacher.module)


def _side(features: Features, model: ClipModel) -> Side:
    return Side(features.images_BD, features.captions(), model.logit_scale.exp())
