"""The terms of the losses, as pure functions of features and weights.

Those that compare with a teacher are in `carot.training.distillation`.

All of it is computed in float32 at least, also inside an autocast region, where a plain product
would fall back to half precision; float64 stays float64.
Shape suffixes: B samples of a batch, D embedding width, R rows and C columns of a projection, W and
V the widths in front of the visual and the text projection.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from carot.training.precision import full_precision, widened

Form = Literal["squared", "unsquared"]


def contrastive_loss(
    image_features_BD: Tensor,
    text_features_BD: Tensor,
    logit_scale: Tensor | float,
    labels_B: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Image-text contrastive loss, mean over the batch and over both directions (CaRot eq. 3).

    Args:
        image_features_BD: unit-length features.
        text_features_BD: unit-length features of each image's caption.
        logit_scale: exp(s), the factor on cosines.
        labels_B: class indices. Given, the target of a row is uniform over all columns of its
            class (UniCL, CVPR 2022); without, it is the row's own pair.
        smoothing: ε in [0, 1]; targets become (1 − ε) · target + ε / B (CaRot's comparison, §B.2).

    Returns:
        A scalar, at least 0.
    """
    with full_precision(image_features_BD):
        image_BD, text_BD = widened(image_features_BD), widened(text_features_BD)
        logits_BB = logit_scale * image_BD @ text_BD.t()
        targets = positive_targets(logits_BB, labels_B)
        to_text = F.cross_entropy(logits_BB, targets, label_smoothing=smoothing)
        to_image = F.cross_entropy(logits_BB.t(), targets, label_smoothing=smoothing)
        return (to_text + to_image) / 2


def positive_targets(logits_BB: Tensor, labels_B: Tensor | None) -> Tensor:
    """Targets of each row for `cross_entropy`: its own column, or all columns of its class.

    The relation is symmetric, so one set of targets serves the transposed logits, too.
    """
    if labels_B is None:
        return torch.arange(len(logits_BB), device=logits_BB.device)
    same_BB = (labels_B[:, None] == labels_B[None, :]).to(logits_BB.dtype)
    return same_BB / same_BB.sum(dim=1, keepdim=True)


def cross_norm(
    image_projection_WD: Tensor, text_projection_VD: Tensor, form: Form = "unsquared"
) -> Tensor:
    """The norm of the product of both towers' projections, W_v W_l' of shape (W, V).

    Args:
        form: `squared` is half the squared Frobenius norm, R of CaRot §4.1 with ρ as its weight;
            `unsquared` is the Frobenius norm, as in the released code.

    Returns:
        A scalar. Where the product is exactly zero, the unsquared norm has no gradient; 0, one of
        its subgradients, is used.
    """
    with full_precision(image_projection_WD):
        product_WV = widened(image_projection_WD) @ widened(text_projection_VD).t()
        squared = form == "squared"
        return product_WV.square().sum() / 2 if squared else _norm(product_WV)


def orthogonality(weight_RC: Tensor, form: Form = "squared") -> Tensor:
    """Distance of the rows' Gram matrix from the identity, ‖W W' − I‖ (CaRot eq. 4).

    Args:
        weight_RC: a projection with rows <= columns; the paper's W'W is that of the transpose.
        form: `squared` is the squared Frobenius norm, as in the paper; `unsquared` its root, as in
            the released code.

    Returns:
        A scalar, with the subgradient 0 where the rows are orthonormal.

    Raises:
        ValueError: more rows than columns, whose Gram matrix cannot be the identity.
    """
    rows, columns = weight_RC.shape
    if rows > columns:
        raise ValueError(f"{rows} rows of {columns} columns cannot be orthonormal: transpose")
    with full_precision(weight_RC):
        weight_RC = widened(weight_RC)
        identity_RR = torch.eye(rows, dtype=weight_RC.dtype, device=weight_RC.device)
        difference_RR = weight_RC @ weight_RC.t() - identity_RR
        return difference_RR.square().sum() if form == "squared" else _norm(difference_RR)


def _norm(matrix: Tensor) -> Tensor:
    # Unlike sum().sqrt(), whose gradient at 0 is NaN, this gives the subgradient 0 there. By rows
    # first: over all entries at once, float32 loses 2e-6 of a 768 x 512 matrix's norm on a CPU.
    norm: Tensor = torch.linalg.vector_norm(torch.linalg.vector_norm(matrix, dim=1))
    return norm
