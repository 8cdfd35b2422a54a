"""PseudoCal: a temperature from images without labels, by mixing them in pairs.

Hu et al. 2024 (ICML, PMLR 235). Two images a and b that the model takes for different
classes are mixed, x = λ a + (1 − λ) b with λ = 0.65, and the answer to the larger part is taken for
the label of the mixture: ŷ = argmax z(a). Like the model's own right and wrong answers, those to
mixtures agree with such labels or do not; the temperature is the one that is most likely for them.
Pairs of one class are left out. Shape suffixes: N images, M mixtures, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from carot.calibration.calibrators.temperature import fit_temperature
from carot.errors import CalibrationError

WEIGHT = 0.65
"""λ, of the paper, for every model and data set."""


def mixing_partners(images: int, seed: int = 0) -> Tensor:
    """With which image each is mixed: a permutation, (N), the same for the same seed.

    Raises:
        CalibrationError: fewer than two images.
    """
    if images < 2:
        raise CalibrationError(f"mixing takes two images or more, not {images}")
    return torch.randperm(images, generator=torch.Generator().manual_seed(seed))


def mixed(images_NCHW: Tensor, partner_N: Tensor, weight: float = WEIGHT) -> Tensor:
    """Each preprocessed image mixed with its partner, `weight` of it and the rest of that."""
    return weight * images_NCHW + (1 - weight) * images_NCHW[partner_N]


@torch.no_grad()
def fit_pseudo_temperature(mixed_NC: Tensor, logits_NC: Tensor, partner_N: Tensor) -> float:
    """The temperature that is most likely for mixtures, whose labels the model itself gives.

    Args:
        mixed_NC: logits of the mixtures; row i is image i with image `partner_N[i]`, and more than
            half of it is image i.
        logits_NC: logits of the images as they are.
        partner_N: indices of images.

    Raises:
        CalibrationError: shapes that do not fit, indices out of range, no pair of different
            classes, logits that are not finite.
    """
    images = len(logits_NC)
    if mixed_NC.shape != logits_NC.shape or partner_N.shape != (images,):
        raise CalibrationError(
            f"a mixture and a partner for each image are needed: shapes {tuple(logits_NC.shape)}, "
            f"not {tuple(mixed_NC.shape)}, and ({images},), not {tuple(partner_N.shape)}"
        )
    if images and not 0 <= int(partner_N.min()) <= int(partner_N.max()) < images:
        raise CalibrationError(f"partners must be 0 to {images - 1}")
    answer_N = logits_NC.argmax(dim=1)
    differ_N = answer_N != answer_N[partner_N]
    if not bool(differ_N.any()):
        raise CalibrationError("every pair is of one class: there is nothing to tell apart")
    return fit_temperature(mixed_NC[differ_N], answer_N[differ_N]).temperature
