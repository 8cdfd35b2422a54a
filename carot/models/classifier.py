"""A checkpoint put to use: images in, raw and calibrated confidences out.

Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.label_sets import label_set_hash
from carot.errors import CheckpointError
from carot.models.checkpoints import (
    CALIBRATOR_NAME,
    EVIDENCE_NAME,
    ClassifierCard,
    load_calibration,
    load_card,
    load_head,
)
from carot.models.clip import ClipModel, load_folder


class Classifier:
    """A model, its head and what its calibration split taught.

    Attributes:
        card: classes, templates, method.
        calibration: None when there was no such split; confidences are then the raw ones.
    """

    def __init__(
        self,
        model: ClipModel,
        head_CD: Tensor,
        card: ClassifierCard,
        calibration: Calibration | None,
    ) -> None:
        self.model = model
        self.head_CD = head_CD.to(model.device)
        self.card = card
        self.calibration = calibration

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> Classifier:
        """The classifier in a checkpoint folder, on `device` (`auto`: a GPU where there is one).

        Raises:
            CheckpointError: a file of the classifier is missing or torn.
            ModelError: the model cannot be loaded.
        """
        card = load_card(folder)
        calibration = load_calibration(folder)
        if calibration is not None:
            _check_classes(folder, card, CALIBRATOR_NAME, calibration.calibrator.label_set_hash)
            if calibration.evidence is not None:
                _check_classes(folder, card, EVIDENCE_NAME, calibration.evidence.label_set_hash)
        model = load_folder(folder, pick_device(device))
        return cls(model, load_head(folder, card), card, calibration)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @property
    def calibrator(self) -> AnyCalibrator | None:
        """What is served; None leaves confidences as they are."""
        return None if self.calibration is None else self.calibration.calibrator

    def preprocess(self, image: Image.Image) -> Tensor:
        """One RGB image as the model's input, shape (3, H, W)."""
        return self.model.transform(image)

    @torch.no_grad()
    def outputs_of(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, C) and unit features (N, D) of preprocessed images, float32, on the CPU."""
        features_ND = self.model.encode_images(images_NCHW.to(self.model.device))
        return (features_ND @ self.head_CD.t()).cpu(), features_ND.cpu()

    def logits_of(self, images_NCHW: Tensor) -> Tensor:
        """Logits of preprocessed images, shape (N, C), float32, on the CPU."""
        return self.outputs_of(images_NCHW)[0]

    def logits(self, images: Sequence[Image.Image]) -> Tensor:
        """Logits of RGB images, shape (N, C), float32, on the CPU."""
        return self.logits_of(torch.stack([self.preprocess(image) for image in images]))

    def confidences(self, logits_NC: Tensor) -> tuple[Tensor, Tensor]:
        """(raw, calibrated) probabilities, each of shape (N, C), float64; rows sum to one."""
        raw_NC = logits_NC.double().softmax(dim=-1)
        if self.calibrator is None:
            return raw_NC, raw_NC
        return raw_NC, self.calibrator.probabilities(logits_NC)


def _check_classes(folder: Path, card: ClassifierCard, name: str, fitted_for: str) -> None:
    if fitted_for != label_set_hash(card.classes):
        raise CheckpointError(f"{folder.name}: {name} was fitted for another list of classes")


def pick_device(device: str = "auto") -> torch.device:
    """The device that a name means; `auto` is the GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)
