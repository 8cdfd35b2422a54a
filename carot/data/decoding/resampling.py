"""How evaluation brings an image to the size of a model's input, in pixels of eight bits.

The part of open_clip's transform that comes before any tensor, so that a process without torch
can do it: a few kilobytes leave that process instead of a photograph. Equal to the transform bit
for bit, and the transform leaves what is fitted as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

Mode = Literal["shortest", "squash"]
Interpolation = Literal["bicubic", "bilinear"]
INTERPOLATIONS: Mapping[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}
LARGEST = 4096


@dataclass(frozen=True)
class Fit:
    """Height and width in pixels, and how to get there.

    `shortest` scales the shorter side to the (square) size and cuts the middle out of the longer
    one; `squash` scales each side on its own.
    """

    height: int
    width: int
    mode: Mode
    interpolation: Interpolation

    @classmethod
    def of(cls, preprocess_cfg: Mapping[str, Any]) -> Fit | None:
        """What open_clip's preprocessing configuration asks for; None if it is nothing of this."""
        size = preprocess_cfg.get("size")
        sides = (size, size) if isinstance(size, int) else tuple(size or ())
        mode: Any = preprocess_cfg.get("resize_mode") or "shortest"
        interpolation: Any = preprocess_cfg.get("interpolation") or "bicubic"
        if len(sides) != 2 or not all(isinstance(n, int) and 0 < n <= LARGEST for n in sides):
            return None
        if mode not in ("shortest", "squash") or interpolation not in INTERPOLATIONS:
            return None
        if mode == "shortest" and sides[0] != sides[1]:
            return None
        return cls(sides[0], sides[1], mode, interpolation)

    def __call__(self, image: Image.Image) -> Image.Image:
        """An RGB image at the size of the model's input."""
        if self.mode == "squash":
            return self._scaled(image, self.width, self.height)
        width, height = image.size
        longer = int(self.width * max(width, height) / min(width, height))
        size = (self.width, longer) if width <= height else (longer, self.height)
        scaled = self._scaled(image, *size)
        left = round((scaled.width - self.width) / 2)
        top = round((scaled.height - self.height) / 2)
        return scaled.crop((left, top, left + self.width, top + self.height))

    def _scaled(self, image: Image.Image, width: int, height: int) -> Image.Image:
        if image.size == (width, height):
            return image
        return image.resize((width, height), INTERPOLATIONS[self.interpolation])
