"""A checkpoint put to use: images in, raw and calibrated confidences out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from carot.calibration.calibrator import TemperatureCalibrator, label_set_hash
from carot.checkpoints import (
    CALIBRATOR_NAME,
    ClassifierCard,
    load_calibrator,
    load_card,
    load_head,
)
from carot.errors import CheckpointError
from carot.models import ClipModel, load_folder


class Classifier:
    """A model, its head and its calibrator. N images, C classes.

    Attributes:
        card: classes, templates, method.
        calibrator: None when none was fitted; confidences are then the raw ones.
    """

    def __init__(
        self,
        model: ClipModel,
        head_CD: Tensor,
        card: ClassifierCard,
        calibrator: TemperatureCalibrator | None,
    ) -> None:
        self.model = model
        self.head_CD = head_CD.to(model.device)
        self.card = card
        self.calibrator = calibrator

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> Classifier:
        """The classifier in a checkpoint folder, on `device` (`auto`: a GPU where there is one).

        Raises:
            CheckpointError: a file of the classifier is missing or torn.
            ModelError: the model cannot be loaded.
        """
        card = load_card(folder)
        calibrator = load_calibrator(folder)
        if calibrator is not None and calibrator.label_set_hash != label_set_hash(card.classes):
            raise CheckpointError(
                f"{folder.name}: {CALIBRATOR_NAME} was fitted for another list of classes"
            )
        model = load_folder(folder, pick_device(device))
        return cls(model, load_head(folder, card), card, calibrator)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @property
    def calibrated(self) -> bool:
        """Whether a temperature was fitted for this checkpoint."""
        return self.calibrator is not None

    @property
    def temperature(self) -> float:
        """What logits are divided by; 1 when nothing was fitted."""
        return self.calibrator.temperature if self.calibrator is not None else 1.0

    def preprocess(self, image: Image.Image) -> Tensor:
        """One RGB image as the model's input, shape (3, H, W)."""
        return self.model.transform(image)

    @torch.no_grad()
    def logits_of(self, images_NCHW: Tensor) -> Tensor:
        """Logits of preprocessed images, shape (N, C), float32, on the CPU."""
        features_ND = self.model.encode_images(images_NCHW.to(self.model.device))
        return (features_ND @ self.head_CD.t()).cpu()

    def logits(self, images: Sequence[Image.Image]) -> Tensor:
        """Logits of RGB images, shape (N, C), float32, on the CPU."""
        return self.logits_of(torch.stack([self.preprocess(image) for image in images]))

    def confidences(self, logits_NC: Tensor) -> tuple[Tensor, Tensor]:
        """(raw, calibrated) probabilities, each of shape (N, C), float64; rows sum to one."""
        logits_NC = logits_NC.double()
        return logits_NC.softmax(dim=-1), (logits_NC / self.temperature).softmax(dim=-1)


def pick_device(device: str = "auto") -> torch.device:
    """The device that a name means; `auto` is the GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)
