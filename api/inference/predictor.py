"""A checkpoint as the engine wants it. With `tower` all of the API that is torch.

Imported when the first checkpoint is loaded.

Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from api.inference.normalisation import Normalisation
from api.inference.tower import Tower
from carot.answers.answering import Answering
from carot.data.decoding.decoder_client import Pixels
from carot.data.decoding.resampling import Fit
from carot.models.classifier import Classifier

PROBES = ((37, 61), (300, 200), (64, 500))
"""Widths and heights of the noise on which a model's transform is compared with its fit."""
ROUNDING = 1e-6
Prepared = NDArray[np.uint8] | NDArray[np.float32]


class TorchPredictor:
    """A classifier behind arrays, so that no other file needs torch.

    N images, C classes, D embedding width.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self._classifier = Classifier.load(folder, device)
        self._tower = Tower(self._classifier.model, self._classifier.head_CD)
        self.classes = self._classifier.classes
        self.answering = Answering.of(self._classifier)
        self._normalised = Normalisation(self._classifier.model.preprocess_cfg, self._tower.device)
        self.fit = self._checked_fit()
        self.depth = self._classifier.card.depth

    def prepare(self, pixels: Pixels) -> Prepared:
        """One image: as it is (H, W, 3) if it has its size already, else transformed (3, H, W)."""
        if self.fit is None:
            return self._classifier.preprocess(pixels.image()).numpy()
        return array_of(pixels)

    def outputs(
        self, prepared: Sequence[Prepared]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (N, C) and unit features (N, D) of prepared images."""
        images = torch.from_numpy(np.stack(prepared)).to(self._tower.device)
        logits_NC, features_ND = self._tower(
            images if self.fit is None else self._normalised(images)
        )
        return logits_NC.numpy(), features_ND.numpy()

    @property
    def memory_bytes(self) -> int:
        return self._tower.memory_bytes

    def warm_ups(self, batch: int) -> Sequence[Callable[[], None]]:
        return self._tower.warm_ups(batch)

    def _checked_fit(self) -> Fit | None:
        """The fit, if it gives this model's transform what it would have made itself."""
        fit = Fit.of(self._classifier.model.preprocess_cfg)
        if fit is None:
            return None
        for width, height in PROBES:
            noise = Random(width).randbytes(3 * width * height)  # noqa: S311
            image = Image.frombytes("RGB", (width, height), noise)
            fitted = fit(image)
            pixels = Pixels(*fitted.size, fitted.tobytes())
            pixels_1HW3 = torch.from_numpy(array_of(pixels)[None].copy()).to(self._tower.device)
            normalised = self._normalised(pixels_1HW3)[0].cpu()
            # A GPU may round otherwise; a pixel that is another level differs by far more.
            expected = self._classifier.preprocess(image)
            if not torch.allclose(normalised, expected, rtol=0, atol=ROUNDING):
                return None
        return fit


def array_of(pixels: Pixels) -> NDArray[np.uint8]:
    """(H, W, 3), 0 to 255."""
    return np.frombuffer(pixels.content, np.uint8).reshape(pixels.height, pixels.width, 3)
