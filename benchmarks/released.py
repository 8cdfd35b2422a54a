"""CaRot's loss as its released code computes it, written out from the formulas.

    loss  = (CE(image -> text) + CE(text -> image)) / 2, labels 0 to B - 1
    loss += 0.05 ‖W_v W_l'‖
    loss += 0.2 sqrt(Σ (W_v' W_v − I)²)
    loss += 1.5 mean_i [− Σ_j t_I log s_I − Σ_j t_T log s_T]

s and t are the softmax of the in-batch similarities of student and teacher, by rows (I) and by
columns (T); their logarithms are taken of them as they are. Nothing here comes from `carot`, so
that the two can be compared; that is also why it is as plain and as unstable as the formulas.
Shape suffixes: B samples of a batch, D embedding width, W and V the widths in front of the visual
and the text projection.
"""

from __future__ import annotations

import torch
from torch import Tensor

CROSS_NORM, ORTHOGONALITY, DISTILLATION = 0.05, 0.2, 1.5


def contrastive(images_BD: Tensor, captions_BD: Tensor, log_scale: Tensor) -> Tensor:
    """Cross-entropy with each image's own caption as its label, mean of both directions."""
    logits_BB = torch.exp(log_scale) * images_BD @ captions_BD.T
    own_B = torch.diagonal(logits_BB)
    to_text = (torch.logsumexp(logits_BB, dim=1) - own_B).mean()
    to_image = (torch.logsumexp(logits_BB, dim=0) - own_B).mean()
    return 0.5 * (to_text + to_image)


def cross_norm(visual_WD: Tensor, text_VD: Tensor) -> Tensor:
    """0.05 times the Frobenius norm of the product of the projections."""
    product_WV = visual_WD @ text_VD.T
    return CROSS_NORM * torch.sqrt((product_WV * product_WV).sum())


def orthogonality(visual_WD: Tensor) -> Tensor:
    """0.2 times the distance of the visual projection's Gram matrix from the identity."""
    gram_DD = visual_WD.T @ visual_WD
    difference_DD = gram_DD - torch.eye(len(gram_DD), dtype=gram_DD.dtype)
    return ORTHOGONALITY * torch.sqrt((difference_DD**2).sum())


def distillation(student_BB: Tensor, teacher_BB: Tensor) -> Tensor:
    """1.5 times the cross-entropy of the student under the teacher, both directions summed."""
    total = torch.zeros((), dtype=student_BB.dtype)
    for dim in (1, 0):
        log_student_BB = torch.log(torch.softmax(student_BB, dim=dim))
        total = total - (torch.softmax(teacher_BB, dim=dim) * log_student_BB).sum(dim=dim).mean()
    return DISTILLATION * total


def teacher_entropy(teacher_BB: Tensor) -> Tensor:
    """What `distillation` is more than 1.5 times the divergence of student from teacher."""
    return distillation(teacher_BB, teacher_BB)


def momentum(step: int, total_steps: int) -> float:
    """0.05 + 0.85 step / (0.2 T), then 0.9."""
    return 0.05 + 0.85 * step / (0.2 * total_steps) if step < 0.2 * total_steps else 0.9
