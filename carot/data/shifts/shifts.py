"""Deterministic image shifts with five severities, for images of any size.

A shift of an image depends on the shift's name, the severity, the image's key and its pixels, on
nothing else: the same in every process and on every machine. Lengths are shares of the image's
shorter side, so that 32 x 32 and 224 x 224 are shifted alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from carot.data.shifts.pixels import SEVERITIES, check_severity, seeded, to_image, to_pixels
from carot.errors import DataError

__all__ = ["SEVERITIES", "SHIFTS", "distort_printed", "shift_image"]

SHIFTS = ("inverted", "coloured", "noise", "rotation", "blur", "occlusion")

# One value per severity, each row growing worse from left to right.
PARAMETERS: dict[str, tuple[float, ...]] = {
    "inverted": (0.2, 0.35, 0.75, 0.9, 1.0),  # share of the negative in the blend
    "coloured": (0.8, 0.65, 0.5, 0.38, 0.26),  # least distance of the two colours' luminances
    "noise": (0.06, 0.12, 0.18, 0.26, 0.36),  # standard deviation, of the full range
    "rotation": (8.0, 15.0, 22.0, 30.0, 40.0),  # degrees, either way
    "blur": (0.02, 0.035, 0.05, 0.065, 0.08),  # standard deviation, of the shorter side
    "occlusion": (0.15, 0.22, 0.29, 0.36, 0.44),  # side of the covering square
}

# For `distort_printed`: degrees of turn, shear, blur (share of the side), and contrast left.
PRINTED_PARAMETERS: tuple[tuple[float, float, float, float], ...] = (
    (2.0, 0.05, 0.005, 0.95),
    (5.0, 0.10, 0.012, 0.85),
    (8.0, 0.16, 0.020, 0.75),
    (11.0, 0.23, 0.028, 0.65),
    (15.0, 0.30, 0.036, 0.55),
)


def shift_image(image: Image.Image, name: str, severity: int, key: str) -> Image.Image:
    """An image as one shift shows it.

    Args:
        image: RGB, any size.
        name: one of SHIFTS.
        severity: 1 (slight) to 5.
        key: the image's own name; it seeds everything random.

    Returns:
        RGB, of the same size.

    Raises:
        DataError: `field` is "shift" or "severity".
    """
    if name not in SHIFTS:
        raise DataError(f"shift {name!r} is none of {', '.join(SHIFTS)}", field="shift")
    check_severity(severity)
    amount = PARAMETERS[name][severity - 1]
    return _CHANGES[name](image, amount, seeded(name, severity, key))


def distort_printed(image: Image.Image, severity: int, key: str) -> Image.Image:
    """A printed digit as a poor scan shows it: turned, sheared, blurred and paler.

    Arguments, result and errors as for `shift_image`.
    """
    check_severity(severity)
    rng = seeded("printed", severity, key)
    degrees, shear, blur, contrast = PRINTED_PARAMETERS[severity - 1]
    angle = np.deg2rad(_either_way(degrees, rng))
    slant = np.array([[1.0, _either_way(shear, rng)], [0.0, 1.0]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = _affine(image, turn @ slant)
    pixels = to_pixels(moved.filter(ImageFilter.GaussianBlur(blur * min(image.size))))
    middle = pixels.mean(axis=(0, 1))
    return to_image(middle + contrast * (pixels - middle))


def _either_way(amount: float, rng: np.random.Generator) -> float:
    """Between two thirds of the amount and all of it, in either direction."""
    return float(rng.choice([-1.0, 1.0]) * rng.uniform(2 / 3, 1) * amount)


def _ground(image: Image.Image) -> tuple[int, int, int]:
    """The median colour of the border, to fill what a turn uncovers."""
    pixels = np.asarray(image.convert("RGB"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (int(value) for value in np.median(border, axis=0))
    return red, green, blue


def _affine(image: Image.Image, matrix: NDArray[np.float64]) -> Image.Image:
    """The image seen through a 2 x 2 matrix about its centre."""
    centre = (np.array(image.size, dtype=np.float64) - 1) / 2
    offset = centre - matrix @ centre
    coefficients = (*matrix[0].tolist(), float(offset[0]), *matrix[1].tolist(), float(offset[1]))
    return image.convert("RGB").transform(
        image.size,
        Image.Transform.AFFINE,
        coefficients,
        Image.Resampling.BICUBIC,
        fillcolor=_ground(image),
    )


def _invert(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    pixels = to_pixels(image)
    return to_image((1 - share) * pixels + share * (1 - pixels))


def _colour(image: Image.Image, contrast: float, rng: np.random.Generator) -> Image.Image:
    """Dark becomes one random colour and light another, at least `contrast` apart in luminance.

    The lighter colour may take the place of the dark.
    """
    weights = np.array([0.299, 0.587, 0.114])
    while True:
        dark, light = rng.uniform(0, 1, size=(2, 3))
        distance = abs(float((light - dark) @ weights))
        if contrast <= distance <= contrast + 0.15:
            break
    grey = (to_pixels(image) @ weights)[..., None]
    return to_image(dark + grey * (light - dark))


def _add_noise(image: Image.Image, deviation: float, rng: np.random.Generator) -> Image.Image:
    pixels = to_pixels(image)
    return to_image(pixels + rng.normal(0, deviation, size=pixels.shape))


def _rotate(image: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
    angle = np.deg2rad(_either_way(degrees, rng))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _affine(image, turn)


def _blur(image: Image.Image, deviation: float, rng: np.random.Generator) -> Image.Image:
    return image.convert("RGB").filter(ImageFilter.GaussianBlur(deviation * min(image.size)))


def _occlude(image: Image.Image, side: float, rng: np.random.Generator) -> Image.Image:
    """Covers a square of the given side, as a share of the shorter side, with one random grey."""
    width, height = image.size
    length = max(1, round(side * min(width, height)))
    left = int(rng.integers(0, width - length + 1))
    top = int(rng.integers(0, height - length + 1))
    covered = image.convert("RGB").copy()
    grey = int(rng.integers(0, 256))
    covered.paste((grey, grey, grey), (left, top, left + length, top + length))
    return covered


_CHANGES: dict[str, Callable[[Image.Image, float, np.random.Generator], Image.Image]] = {
    "inverted": _invert,
    "coloured": _colour,
    "noise": _add_noise,
    "rotation": _rotate,
    "blur": _blur,
    "occlusion": _occlude,
}
