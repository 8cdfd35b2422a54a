"""How little an image looks like one of the classes: three scores, of which one is served.

`confidence` is the largest calibrated probability, negated (Hendrycks and Gimpel 2017, arXiv
1610.02136); `shift` the distance of the shift score (`carot.calibration.sets.shift_score`);
`combined` joins the two by Fisher's method (1932): −2 (ln p₁ + ln p₂), where p is the share of
calibration images that are as low in confidence, or lie as far. Combining such p-values to detect
other classes is of Haroush et al. (2022, arXiv 2102.12967) and Magesh et al. (2023, arXiv
2206.09522). It has no weight to choose, so that it takes no image of another class. Fisher's
chi-square law supposes that the two are independent, which they are not; the calibration images'
own values take its place. Shape suffix: N images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from carot.calibration.sets.unseen_names import SCORES, Score
from carot.errors import CalibrationError
from carot.tensor_files import metadata_of, to_bytes

METHOD = "confidence_mahalanobis_fisher"


@dataclass(frozen=True)
class UnseenScore:
    """The scores of the calibration images, which say what is usual for known classes.

    Attributes:
        split: where those images come from.
        confidences_N, distances_N, combined_N: theirs, float64, rising.
        chosen: the score that is served; None before one is chosen.
    """

    split: str
    confidences_N: Tensor
    distances_N: Tensor
    combined_N: Tensor
    chosen: Score | None = None

    def serving(self, score: Score | None) -> UnseenScore:
        """The same with this score chosen."""
        return replace(self, chosen=score)

    def values(self, confidence_N: Tensor, distance_N: Tensor) -> dict[Score, Tensor]:
        """Every score of images, float64, (N); the higher, the less like the known classes.

        Args:
            confidence_N: largest calibrated probabilities.
            distance_N: `ShiftScore.distances`.
        """
        below_N = torch.searchsorted(self.confidences_N, confidence_N.double(), right=True)
        beyond_N = len(self.distances_N) - torch.searchsorted(self.distances_N, distance_N.double())
        images = len(self.confidences_N) + 1
        return {
            "confidence": -confidence_N.double(),
            "shift": distance_N.double(),
            "combined": _fisher((below_N + 1) / images, (beyond_N + 1) / images),
        }

    def percentiles(self, confidence_N: Tensor, distance_N: Tensor) -> Tensor:
        """Share of calibration images that look more like the classes by the chosen score, (N)."""
        assert self.chosen is not None, "no score is chosen"
        value_N = self.values(confidence_N, distance_N)[self.chosen]
        own = {
            "confidence": -self.confidences_N.flip(0),
            "shift": self.distances_N,
            "combined": self.combined_N,
        }[self.chosen]
        return torch.searchsorted(own, value_N).double() / len(own)

    def to_bytes(self) -> bytes:
        """As safetensors; `from_bytes` reads it."""
        tensors = {
            "confidences": self.confidences_N.cpu().contiguous(),
            "distances": self.distances_N.cpu().contiguous(),
            "combined": self.combined_N.cpu().contiguous(),
        }
        return to_bytes(
            tensors, {"method": METHOD, "split": self.split, "chosen": self.chosen or ""}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> UnseenScore:
        """What `to_bytes` wrote.

        Raises:
            CalibrationError: something else, or torn.
        """
        try:
            tensors = load(data)
            about = metadata_of(data)
            method, split, chosen = about["method"], about["split"], about["chosen"]
            confidences_N, distances_N = tensors["confidences"], tensors["distances"]
            combined_N = tensors["combined"]
        except (SafetensorError, KeyError, ValueError) as error:
            raise CalibrationError(f"no score of unseen classes: {error}") from error
        parts = (confidences_N, distances_N, combined_N)
        rising = all(part.ndim == 1 and bool((part.diff() >= 0).all()) for part in parts)
        same = len({part.shape for part in parts}) == 1 and len(parts[0]) > 0
        known: dict[str, Score | None] = {each: each for each in SCORES} | {"": None}
        if method != METHOD or not rising or not same or chosen not in known:
            raise CalibrationError(
                f"no score of unseen classes by {METHOD}, or its tensors do not fit together"
            )
        return cls(split, confidences_N, distances_N, combined_N, known[chosen])


def fit_unseen_score(
    confidence_N: Tensor, distance_N: Tensor, *, split: str = "calibration"
) -> UnseenScore:
    """What is usual for known classes, from calibration images.

    Args:
        confidence_N: their largest calibrated probabilities.
        distance_N: their distances, in the same order, each as seen from the others
            (`own_distances`).

    Raises:
        CalibrationError: no images, numbers that are not finite, or not as many of each.
    """
    confidence_N, distance_N = confidence_N.double(), distance_N.double()
    finite = bool(confidence_N.isfinite().all() and distance_N.isfinite().all())
    if confidence_N.shape != distance_N.shape or confidence_N.ndim != 1 or not len(confidence_N):
        raise CalibrationError("a score of unseen classes needs two numbers for each image")
    if not finite:
        raise CalibrationError("confidences or distances that are not finite")
    confidences_N, distances_N = confidence_N.sort().values, distance_N.sort().values
    images = len(confidence_N)
    # Each among all of them, itself included: what `values` gives with one image fewer.
    below_N = torch.searchsorted(confidences_N, confidence_N, right=True)
    beyond_N = images - torch.searchsorted(distances_N, distance_N)
    combined_N = _fisher(below_N / images, beyond_N / images)
    return UnseenScore(split, confidences_N, distances_N, combined_N.sort().values)


def _fisher(first_N: Tensor, second_N: Tensor) -> Tensor:
    return -2 * (first_N.double().log() + second_N.double().log())
