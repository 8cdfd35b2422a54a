"""DiVE: difference vector equalization (Suzuki et al., AAAI 2026, arXiv 2511.09973).

    L = L_contrastive + λ (AVL + PVL)
    AVL = mean_i (‖u_i − m‖² + ‖v_i − m‖²),  PVL = mean_i ‖u_i − v_i‖²
    u_i = f_θ(x_i) − f_0(x_i),  v_i = g_θ(t_i) − g_0(t_i),  m ← 0.99 m + 0.01 mean_i (u_i + v_i) / 2

f and g are the features of image x_i and caption t_i, θ the student and 0 its start. Embeddings may
move, but all by the same vector, which keeps their geometry. From the paper are the losses, the
decay of 0.99 and λ = 1000. The paper takes u and v of a reference set of image-text pairs (CC3M);
here the reference is the training batch itself, since no such set comes with a data set: no further
images are seen, and the hold is on those that are trained on. Not known of the paper, and chosen
here: differences are of unit-length features, m starts at zero and is moved behind each step, with
no gradient through it, and squares are summed over a vector's entries.

Shape suffixes: B samples, D embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from carot.models.clip import ClipModel
from carot.specs import DiveMethod
from carot.training.methods.base import Encode, Features, Loss, Method
from carot.training.methods.contrastive import contrastive_term
from carot.training.methods.start import frozen_start
from carot.training.precision import full_precision, widened


class Dive(Method):
    """FLYP's loss, and differences from the start that are to be equal.

    Attributes:
        start: the starting model; None where the weight is zero.
        average: the differences' moving average, as a module so that a snapshot has it.
    """

    def __init__(self, spec: DiveMethod, model: ClipModel, total_steps: int) -> None:
        super().__init__(model, total_steps)
        self.spec = spec
        self.start = frozen_start(model) if spec.weight > 0 else None
        self.average = _Average(model, spec.decay)

    def modules(self) -> dict[str, nn.Module]:
        return {**super().modules(), "average_difference": self.average}

    def teach(self, step: int, encode: Encode) -> Features | None:
        return encode(self.start) if self.start is not None else None

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        total = contrastive = contrastive_term(self.model, features, self.spec.positives)
        terms = {"contrastive": contrastive}
        if teacher is not None:
            with full_precision(features.images_BD):
                images_BD = widened(features.images_BD) - widened(teacher.images_BD)
                captions_BD = widened(features.captions()) - widened(teacher.captions())
                terms["average_vector"] = average_vector_loss(
                    images_BD, captions_BD, self.average.mean_D
                )
                terms["pairwise_vector"] = pairwise_vector_loss(images_BD, captions_BD)
            self.average.see(images_BD, captions_BD)
            equal = terms["average_vector"] + terms["pairwise_vector"]
            total = contrastive + self.spec.weight * equal
        return Loss(total, terms)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        super().after_step(step)
        self.average.move()


class _Average(nn.Module):
    """m: an exponential moving average of what a step's difference vectors are on average."""

    mean_D: Tensor

    def __init__(self, model: ClipModel, decay: float) -> None:
        super().__init__()
        self.decay = decay
        width = model.model_cfg["embed_dim"]
        self.register_buffer("mean_D", model.logit_scale.detach().new_zeros(width))
        self._seen_D: Tensor | None = None

    def see(self, images_BD: Tensor, captions_BD: Tensor) -> None:
        """Remember a step's differences for `move`."""
        self._seen_D = (images_BD.detach() + captions_BD.detach()).mean(dim=0) / 2

    def move(self) -> None:
        """Move towards what was seen last, once."""
        if self._seen_D is not None:
            self.mean_D.lerp_(self._seen_D.to(self.mean_D), 1.0 - self.decay)
        self._seen_D = None


def average_vector_loss(images_BD: Tensor, captions_BD: Tensor, mean_D: Tensor) -> Tensor:
    """Squared distance of image and caption differences from their average, mean over samples."""
    images = (images_BD - mean_D).square().sum(dim=-1)
    return (images + (captions_BD - mean_D).square().sum(dim=-1)).mean()


def pairwise_vector_loss(images_BD: Tensor, captions_BD: Tensor) -> Tensor:
    """Squared distance of an image's difference from its caption's, mean over samples."""
    return (images_BD - captions_BD).square().sum(dim=-1).mean()
