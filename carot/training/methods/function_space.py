"""Function-space regularisation on simulated OOD samples, and consistency (arXiv 2509.05328).

    L = CE(f_θ(x) W', y) + λ_F · D(x̃) + λ_C · mean_i KL(p_θ(x_i) ‖ p_θ(x̃_i))
    D(x̃) = mean_i ‖p_θ(x̃_i) − p_0(x̃_i)‖²

x̃ are simulated OOD samples, p_θ and p_0 the class probabilities of the student and of its start.

From the paper, "Feed Two Birds with One Scone: Exploiting Function-Space Regularization for Both
OOD Robustness and ID Fine-Tuning Performance" (Yuan, Shu, Meng, Xu, 2025), are the two terms: the
distance of fine-tuned and pre-trained model in function space, on simulated OOD samples, and a
consistency that makes predictions of perturbed samples stable. Only its abstract and introduction
were at hand. This project's are therefore all constants and forms:

- simulated and perturbed samples are the batch's images through random filters, one each, as the
  anchor of `carot` draws them (`carot.training.anchors`);
- the distance is the mean squared L2 distance of class probabilities, after the function-space
  distance of Benjamin, Rolnick and Kording (ICLR 2019);
- the consistency is a divergence whose clean side has no gradient, as in UDA (Xie et al., NeurIPS
  2020);
- λ_F = λ_C = 1;
- the task's loss is cross-entropy on image tower and head (see `carot.training.methods.head`).

Simulated images go through the tower with the batch: under batch normalisation they take part in
its statistics. Shape suffixes: B samples and their simulated images, C classes, D embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from carot.distributed import Share
from carot.models.clip import ClipModel
from carot.specs import FunctionSpaceMethod
from carot.training.anchors import each_filtered
from carot.training.distillation import divergence
from carot.training.methods.base import Encode, Features, Loss
from carot.training.methods.head import HeadMethod
from carot.training.methods.start import frozen_start
from carot.training.precision import full_precision, widened


class FunctionSpace(HeadMethod):
    """Cross-entropy, distance from the start and consistency; a weight of zero costs nothing.

    Args:
        weight_CD: the start's class weights, from which the head starts, too.
        seed: of the simulated images.

    Attributes:
        start: the starting model; None where the distance weighs nothing.
        answers_BC: the start's logits for the step's simulated images.
    """

    def __init__(
        self,
        spec: FunctionSpaceMethod,
        model: ClipModel,
        total_steps: int,
        weight_CD: Tensor,
        seed: int,
    ) -> None:
        super().__init__(model, total_steps, weight_CD)
        self.spec = spec
        self.seed = seed
        self.start_weight_CD = weight_CD.detach().clone()
        moving = self.tower.values()
        self.start = frozen_start(model, moving) if spec.function_weight > 0 else None
        self.answers_BC: Tensor | None = None

    def anchors(self, step: int, images_NCHW: Tensor, share: Share | None = None) -> Tensor | None:
        if self.spec.function_weight == 0 and self.spec.consistency_weight == 0:
            return None
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return each_filtered(images_NCHW, generator, share)

    def teach(self, step: int, encode: Encode) -> Features | None:
        if self.start is not None:
            self.answers_BC = encode.anchors(self.start) @ self.start_weight_CD.t()
        return None

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        total = cross_entropy = self.cross_entropy(features, label_smoothing=0.0)
        terms = {"cross_entropy": cross_entropy}
        if features.anchors_AD is None:
            return Loss(total, terms)
        simulated_BC = self.classifier(features.anchors_AD)
        if self.start is not None:
            assert self.answers_BC is not None
            terms["function"] = function_distance(simulated_BC, self.answers_BC)
            total = total + self.spec.function_weight * terms["function"]
        if self.spec.consistency_weight > 0:
            with torch.no_grad():
                clean_BC = self.classifier(features.images_BD)
            with full_precision(simulated_BC):
                terms["consistency"] = divergence(widened(simulated_BC), widened(clean_BC))
            total = total + self.spec.consistency_weight * terms["consistency"]
        return Loss(total, terms)


def function_distance(logits_BC: Tensor, start_BC: Tensor) -> Tensor:
    """Squared L2 distance of the class probabilities, mean over images: 0 to 2."""
    with full_precision(logits_BC):
        student_BC = F.softmax(widened(logits_BC), dim=-1)
        return (student_BC - F.softmax(widened(start_BC), dim=-1)).square().sum(dim=-1).mean()
