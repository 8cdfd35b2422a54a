"""The only file of the API that touches torch. Imported when the first checkpoint is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from carot.classifier import Classifier


class TorchPredictor:
    """A classifier behind arrays, so that no other file needs torch. N images, C classes."""

    def __init__(self, folder: Path, device: str) -> None:
        self._classifier = Classifier.load(folder, device)
        self.classes = self._classifier.classes
        self.temperature = self._classifier.temperature
        self.calibrated = self._classifier.calibrated

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """One image as the model's input; safe in any thread."""
        return self._classifier.preprocess(image)

    def logits(self, prepared: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Logits of prepared images, shape (N, C)."""
        result: NDArray[np.float32] = self._classifier.logits_of(torch.stack([*prepared])).numpy()
        return result

    def confidences(
        self, logits_NC: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(raw, calibrated) probabilities, each of shape (N, C)."""
        raw_NC, calibrated_NC = self._classifier.confidences(torch.from_numpy(logits_NC))
        return raw_NC.numpy(), calibrated_NC.numpy()
