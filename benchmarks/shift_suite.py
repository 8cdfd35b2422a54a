"""The handwritten-digits suite, in memory: in-distribution splits and shifted test images.

A shifted set is every test image at severities 1, 3 and 5 of one shift (1,626 images; 768 printed
ones), so that its ECE rises above what chance alone shows on a set (its null level).
Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.metrics.metrics import compute_metrics
from carot.calibration.metrics.reliability import reliability
from carot.data.digits import CLASSES, TEMPLATES, handwritten_digits
from carot.data.source import ImageSource
from carot.evaluation.bound import bound_terms
from carot.evaluation.rows import open_evaluation
from carot.evaluation.selection import Judgement
from carot.models.clip import ClipModel, load_model
from carot.models.prompts import Captions, zero_shot_head
from carot.specs import SHIFT_NAMES, EvaluationDataset, ModelSpec, ShiftName

START = ModelSpec(architecture="carot-mini")
PRINTED: ShiftName = "printed"
SHIFTS: tuple[ShiftName, ...] = (*SHIFT_NAMES, PRINTED)  # type: ignore[assignment]
SEVERITIES = (1, 3, 5)
ID = "test"
BATCH = 512
FIGURES = ("accuracy", "ece", "ece_null_mean", "nll", "brier")


@dataclass(frozen=True)
class Images:
    """One set: preprocessed images of shape (N, 3, H, W) and labels."""

    images_NCHW: Tensor
    labels_N: Tensor


class Suite:
    """Every set, opened and preprocessed once.

    Args:
        limit: most images of a split or of a shift at one severity; None for all.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.model = load_model(START)
        self.captions = Captions(self.model, CLASSES, TEMPLATES)
        self.validation = self._split("validation")
        self.calibration = self._split("calibration")
        self.test = self._split("test")
        self.shifted: dict[str, Images] = {shift: self._shifted(shift) for shift in SHIFTS}

    def evaluated(self, model: ClipModel, head_CD: Tensor) -> Judgement:
        """What in-distribution validation says of a classifier: all that tuning may look at."""
        logits_NC, features_ND = run(model, head_CD, self.validation)
        return Judgement.of(logits_NC, self.validation.labels_N, features_ND)

    def measure(self, model: ClipModel, head_CD: Tensor) -> dict[str, Any]:
        """Everything that the benchmark says of a classifier."""
        logits_NC, _ = run(model, head_CD, self.calibration)
        temperature = fit_temperature(logits_NC, self.calibration.labels_N).temperature
        sets: dict[str, Any] = {}
        every: list[tuple[Tensor, Tensor]] = []
        for name, images in self.shifted.items():
            logits_NC, _ = run(model, head_CD, images)
            sets[name] = figures(logits_NC, images.labels_N, temperature)
            every.append((logits_NC, images.labels_N))
        logits_NC, features_ND = run(model, head_CD, self.test)
        sets[ID] = figures(logits_NC, self.test.labels_N, temperature)
        terms = bound_terms(logits_NC, self.test.labels_N, features_ND)
        ood_logits, ood_labels = (torch.cat(parts) for parts in zip(*every, strict=True))
        return {
            "temperature": temperature,
            "sets": sets,
            "sigma_min": terms.sigma_min,
            "calibration_error": terms.calibration_error,
            "validation": vars(self.evaluated(model, head_CD)),
            "reliability": {
                "id": bars(logits_NC, self.test.labels_N),
                "ood": bars(ood_logits, ood_labels),
            },
        }

    def text_head(self, model: ClipModel) -> Tensor:
        """The head that a model's text tower makes, times its logit scale."""
        return model.logit_scale.detach().exp() * zero_shot_head(model, self.captions)

    def _split(self, split: str) -> Images:
        return self._loaded(handwritten_digits(split))

    def _shifted(self, shift: ShiftName) -> Images:
        parts = [
            self._loaded(
                open_evaluation(
                    EvaluationDataset(
                        name=shift, dataset="builtin:digits", shift=shift, severity=severity
                    ),
                    CLASSES,
                ).source
            )
            for severity in SEVERITIES
        ]
        return Images(
            torch.cat([part.images_NCHW for part in parts]),
            torch.cat([part.labels_N for part in parts]),
        )

    def _loaded(self, source: ImageSource) -> Images:
        count = min(len(source), self.limit or len(source))
        images = [self.model.transform(source.image(index)) for index in range(count)]
        return Images(torch.stack(images), torch.from_numpy(source.labels[:count]))


@cache
def suite(limit: int | None = None) -> Suite:
    """The suite of this process."""
    return Suite(limit)


@torch.no_grad()
def run(model: ClipModel, head_CD: Tensor, images: Images) -> tuple[Tensor, Tensor]:
    """Logits (N, C) and unit-length features (N, D) of a set."""
    model.module.eval()
    features = [model.encode_images(part) for part in images.images_NCHW.split(BATCH)]
    features_ND = torch.cat(features)
    return features_ND @ head_CD.t(), features_ND


def figures(logits_NC: Tensor, labels_N: Tensor, temperature: float) -> dict[str, float]:
    """What is kept of one set: whole-set figures, raw and over the temperature."""
    raw = compute_metrics(logits_NC, labels_N).model_dump()
    calibrated = compute_metrics(logits_NC.double() / temperature, labels_N)
    kept = {name: raw[name] for name in FIGURES}
    return {**kept, "images": raw["images"], "calibrated_ece": calibrated.ece}


def bars(logits_NC: Tensor, labels_N: Tensor) -> list[dict[str, Any]]:
    """A reliability diagram as data."""
    return [bar.model_dump(mode="json") for bar in reliability(logits_NC, labels_N)]
