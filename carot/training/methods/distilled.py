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
from carot.models.projections import image_projection, text_projection
from carot.specs import CarotMethod, TracerMethod
from carot.training.distillation import Side
from carot.training.losses import cross_norm, orthogonality
from carot.training.methods.base import Encode, Features, Loss, Method
from carot.training.methods.contrastive import contrastive_term, positive_labels
from carot.training.teachers import Teacher, build_teacher
from carot.warnings import CodedWarning


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
        """Weights of the orthogonality and the cross-norm term; 0 where the towers allow of none.

        Both need linear maps that towers end in. Some have none (SigLIP's image tower ends in
        attention pooling), and then there is nothing to constrain.
        """
        weights = {
            "orthogonality": self.spec.orthogonality_weight,
            "cross_norm": self.spec.cross_norm_weight,
        }
        image, text = image_projection(self.model.module), text_projection(self.model.module)
        lacking = {
            "orthogonality": image is None,
            "cross_norm": image is None or text is None,
        }
        left_out = [name for name, weight in weights.items() if weight > 0 and lacking[name]]
        if left_out:
            towers = [name for name, map_ in (("image", image), ("text", text)) if map_ is None]
            self.warnings.append(
                CodedWarning(
                    code="terms_left_out",
                    message=f"{self.model.architecture}: its {' and '.join(towers)} tower ends in "
                    f"no linear map, so the loss is without {' and '.join(left_out)}",
                    names=tuple(left_out),
                )
            )
        kept = {name: 0.0 if name in left_out else weight for name, weight in weights.items()}
        return kept["orthogonality"], kept["cross_norm"]

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
