"""What everything that changes an image shares: its seed, its severity, and pixels as numbers."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carot.errors import DataError

SEVERITIES = (1, 2, 3, 4, 5)

Pixels = NDArray[np.float64]  # (height, width, 3) in [0, 1]


def check_severity(severity: int) -> None:
    """Refuse what is no severity.

    Raises:
        DataError: `field` is "severity".
    """
    if severity not in SEVERITIES:
        raise DataError(f"severity {severity!r} is not a whole number 1 to 5", field="severity")


def seeded(name: str, severity: int, key: str) -> np.random.Generator:
    """The random numbers of one change of one image: the same in every process."""
    seed = hashlib.blake2b(f"{name}/{severity}/{key}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(seed, "big"))


def to_pixels(image: Image.Image) -> Pixels:
    """An image of any mode as RGB values of shape (height, width, 3) in 0 to 1."""
    return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def to_image(pixels: Pixels) -> Image.Image:
    """The RGB image of such values; what is outside 0 to 1 is clipped."""
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))
