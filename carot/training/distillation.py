"""Distillation losses, as pure functions of the features of student and teacher.

`distillation_loss` is CaRot's (eq. 5); the other three are TRACER's (§4, §C.6), as its released
code computes them. The teacher never gets a gradient. All of it is computed in float32 at least.
Shape suffixes: B samples of a batch, C columns of logits, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from carot.training.losses import positive_targets
from carot.training.precision import full_precision, widened


@dataclass(frozen=True)
class Side:
    """What one of the two models made of a batch.

    Attributes:
        images_BD: unit-length image features.
        captions_BD: unit-length features of each image's caption.
        scale: exp(s), the factor on cosines.
    """

    images_BD: Tensor
    captions_BD: Tensor
    scale: Tensor

    def logits(self) -> Tensor:
        """Image-to-caption logits, shape (B, B); their transpose is the other direction."""
        return self.scale * self.images_BD @ self.captions_BD.t()

    def widened(self) -> Side:
        """The same in float32 at least."""
        return Side(widened(self.images_BD), widened(self.captions_BD), widened(self.scale))

    def detached(self) -> Side:
        """The same without a gradient, in float32 at least."""
        images_BD, captions_BD = self.images_BD.detach(), self.captions_BD.detach()
        return Side(images_BD, captions_BD, self.scale.detach()).widened()


def distillation_loss(student_logits_BB: Tensor, teacher_logits_BB: Tensor) -> Tensor:
    """Self-distillation on in-batch similarities (CaRot eq. 5).

    KL(teacher ‖ student) of each image's distribution over captions plus that of each caption's
    distribution over images, averaged over the batch.

    Args:
        student_logits_BB: image-to-caption logits; their transpose is the other direction.
        teacher_logits_BB: likewise.
    """
    with full_precision(student_logits_BB):
        student_BB = widened(student_logits_BB)
        teacher_BB = widened(teacher_logits_BB.detach())
        return divergence(student_BB, teacher_BB) + divergence(student_BB.t(), teacher_BB.t())


def relation_loss(student: Side, teacher: Side) -> Tensor:
    """`distillation_loss` of the two sides' own similarities."""
    with full_precision(student.images_BD):
        return distillation_loss(student.widened().logits(), teacher.detached().logits())


def feature_loss(student: Side, teacher: Side) -> Tensor:
    """Squared difference of the features, a mean over all B · D entries, of images plus captions.

    TRACER's equation for it has a sum over D in place of that mean: D times this.
    """
    with full_precision(student.images_BD):
        student, teacher = student.widened(), teacher.detached()
        images = F.mse_loss(student.images_BD, teacher.images_BD)
        return images + F.mse_loss(student.captions_BD, teacher.captions_BD)


def interaction_loss(student: Side, teacher: Side, labels_B: Tensor | None = None) -> Tensor:
    """Contrast of the student's features against the teacher's of the other modality.

    Each student image picks its caption among the teacher's captions, each student caption its
    image among the teacher's images; cross-entropy, mean over the batch and both directions, with
    the student's scale.

    Args:
        labels_B: class indices; positives are then those of `contrastive_loss`.
    """
    with full_precision(student.images_BD):
        to_captions_BB, to_images_BB = _across(student.widened(), teacher.detached())
        targets = positive_targets(to_captions_BB, labels_B)
        to_captions = F.cross_entropy(to_captions_BB, targets)
        return (to_captions + F.cross_entropy(to_images_BB, targets)) / 2


def cross_loss(student: Side, teacher: Side) -> Tensor:
    """Divergence of the student's distribution over the teacher's features from the teacher's own.

    KL(softmax(teacher images · teacher captions) ‖ softmax(student images · teacher captions)),
    and likewise from captions to images; mean over the batch and both directions. Each side
    scales its own anchors' logits.
    """
    with full_precision(student.images_BD):
        teacher = teacher.detached()
        to_captions_BB, to_images_BB = _across(student.widened(), teacher)
        teacher_BB = teacher.logits()
        forth = divergence(to_captions_BB, teacher_BB)
        return (forth + divergence(to_images_BB, teacher_BB.t())) / 2


def _across(student: Side, teacher: Side) -> tuple[Tensor, Tensor]:
    """Logits of student images over teacher captions, and of student captions over images."""
    return (
        student.scale * student.images_BD @ teacher.captions_BD.t(),
        student.scale * student.captions_BD @ teacher.images_BD.t(),
    )


def divergence(student_BC: Tensor, teacher_BC: Tensor) -> Tensor:
    """KL(softmax(teacher) ‖ softmax(student)) of rows of logits, mean over rows, in nats."""
    # Logarithms on both sides: a probability that underflows to 0 still has a finite one.
    return F.kl_div(
        F.log_softmax(student_BC, dim=-1),
        F.log_softmax(teacher_BC, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
