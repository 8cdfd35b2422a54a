"""Ten corruptions of five severities, for RGB images of any size.

The kinds are those that ImageNet-C made usual (Hendrycks and Dietterich 2019, arXiv:1903.12261);
the code and the severities are this project's own, so figures do not compare with published ones
(`imagenet-c:PATH` reads the published images). As with `carot.data.shifts.shifts`, the result
depends on name, severity, key and pixels alone, and lengths are shares of the image's shorter side.

Noise and compression have a grain of their own. A model sees a photograph of any size scaled down
to about `GRAIN` pixels, and finer grain would be averaged away on the way: so on larger images they
happen at that scale, and what they changed there is added to the image.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carot.data.shifts.pixels import Pixels, check_severity, seeded, to_image, to_pixels
from carot.errors import DataError

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "motion_blur",
    "brightness", "contrast", "fog", "pixelate", "jpeg",
)  # fmt: skip

GRAIN = 224  # pixels along the shorter side

# One value per severity, each row growing worse from left to right.
PARAMETERS: dict[str, tuple[float, ...]] = {
    "gaussian_noise": (0.05, 0.1, 0.16, 0.23, 0.32),  # standard deviation, of the full range
    "shot_noise": (80.0, 36.0, 17.0, 9.0, 4.0),  # photons that make white
    "impulse_noise": (0.02, 0.05, 0.1, 0.16, 0.25),  # share of pixels that are black or white
    "defocus_blur": (0.026, 0.036, 0.048, 0.062, 0.08),  # radius, of the shorter side
    "motion_blur": (0.07, 0.11, 0.16, 0.22, 0.3),  # length, of the shorter side
    "brightness": (0.12, 0.22, 0.32, 0.42, 0.54),  # added to the value (HSV), of the full range
    "contrast": (0.7, 0.5, 0.35, 0.24, 0.14),  # share of the contrast that is left
    "fog": (0.25, 0.4, 0.54, 0.67, 0.8),  # share of the light that the thickest fog takes
    "pixelate": (28, 20, 14, 10, 7),  # squares along the shorter side
    "jpeg": (30, 20, 13, 8, 4),  # quality
}

FOG_THINNEST = 0.5  # of the thickest, in the same image
FOG_OCTAVES = 6

Change = Callable[[Pixels, float, np.random.Generator], Pixels]


def corrupt_image(image: Image.Image, name: str, severity: int, key: str) -> Image.Image:
    """An image as one corruption shows it.

    Args:
        image: RGB, any size.
        name: one of CORRUPTIONS.
        severity: 1 (slight) to 5.
        key: the image's own name; it seeds everything random.

    Returns:
        RGB, of the same size.

    Raises:
        DataError: `field` is "shift" or "severity".
    """
    if name not in CORRUPTIONS:
        raise DataError(f"corruption {name!r} is none of {', '.join(CORRUPTIONS)}", field="shift")
    check_severity(severity)
    amount = PARAMETERS[name][severity - 1]
    rng = seeded(name, severity, key)
    if name in _GRAINED:
        return to_image(_at_grain(image, lambda pixels: _GRAINED[name](pixels, amount, rng)))
    if name in _BLURS:
        return _smooth(image, lambda pixels: _BLURS[name](pixels, amount, rng))
    return to_image(_CHANGES[name](to_pixels(image), amount, rng))


def _scaled_down(image: Image.Image) -> Image.Image:
    """The image with GRAIN pixels along its shorter side, or as it is if it has no more."""
    shorter = min(image.size)
    if shorter <= GRAIN:
        return image
    width, height = (max(1, round(length * GRAIN / shorter)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def _at_grain(image: Image.Image, change: Callable[[Pixels], Pixels]) -> Pixels:
    small = to_pixels(_scaled_down(image.convert("RGB")))
    changed = change(small).clip(0, 1)
    width, height = image.size
    if (height, width) == small.shape[:2]:
        return changed
    row_H = np.arange(height) * small.shape[0] // height
    column_W = np.arange(width) * small.shape[1] // width
    difference: Pixels = (changed - small)[row_H[:, None], column_W]
    return to_pixels(image) + difference


def _smooth(image: Image.Image, change: Callable[[Pixels], Pixels]) -> Image.Image:
    """A blur, which leaves nothing that the smaller scale could not hold."""
    small = _scaled_down(image.convert("RGB"))
    blurred = to_image(change(to_pixels(small)))
    return blurred.resize(image.size, Image.Resampling.BICUBIC)


def _add_noise(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    return pixels + rng.normal(0, deviation, size=pixels.shape)


def _count_photons(pixels: Pixels, photons: float, rng: np.random.Generator) -> Pixels:
    return rng.poisson(pixels * photons) / photons


def _replace(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    drawn = rng.uniform(size=pixels.shape[:2])[..., None]
    return np.where(drawn < share / 2, 0.0, np.where(drawn < share, 1.0, pixels))


def _compress(pixels: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    file = io.BytesIO()
    to_image(pixels).save(file, "JPEG", quality=int(quality), subsampling="4:2:0")
    with Image.open(file, formats=("JPEG",)) as image:
        return to_pixels(image)


def _defocus(pixels: Pixels, radius: float, rng: np.random.Generator) -> Pixels:
    """An evenly lit disc in place of each point, its edge a pixel wide."""
    length = radius * min(pixels.shape[:2])
    reach = int(np.ceil(length + 0.5))
    offset = np.arange(-reach, reach + 1)
    distance = np.hypot(offset[:, None], offset)
    return _convolved(pixels, (length + 0.5 - distance).clip(0, 1))


def _move(pixels: Pixels, length: float, rng: np.random.Generator) -> Pixels:
    """An even line in place of each point, in a random direction."""
    distance = length * min(pixels.shape[:2])
    reach = int(np.ceil(distance / 2)) + 1
    along = np.linspace(-distance / 2, distance / 2, 8 * reach + 1)
    angle = rng.uniform(0, np.pi)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    y, x = reach + along * np.sin(angle), reach + along * np.cos(angle)
    row, column = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = y - row, x - column
    for step_y, weight_y in ((0, 1 - below), (1, below)):
        for step_x, weight_x in ((0, 1 - right), (1, right)):
            np.add.at(kernel, (row + step_y, column + step_x), weight_y * weight_x)
    return _convolved(pixels, kernel)


def _convolved(pixels: Pixels, kernel: NDArray[np.float64]) -> Pixels:
    """Each channel convolved with an odd, square kernel; the border pixels go on outside."""
    reach = len(kernel) // 2
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    size = padded.shape[:2]
    spectrum = np.fft.rfft2(kernel / kernel.sum(), s=size)[..., None]
    result = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * spectrum, s=size, axes=(0, 1))
    inside: Pixels = result[2 * reach :, 2 * reach :]
    return inside


def _brighten(pixels: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Raises the largest of the three values; hue and saturation stay. Black becomes grey."""
    value: Pixels = pixels.max(axis=2, keepdims=True)
    raised = np.minimum(1, value + amount)
    return np.where(value > 0, pixels / np.where(value > 0, value, 1) * raised, raised)


def _flatten(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    middle: Pixels = pixels.mean(axis=(0, 1))
    return middle + share * (pixels - middle)


def _cover(pixels: Pixels, density: float, rng: np.random.Generator) -> Pixels:
    """White in the place of light, as much as a random, cloudy thickness says."""
    thickness = density * _clouds(pixels.shape[:2], rng)[..., None]
    return (1 - thickness) * pixels + thickness


def _clouds(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Random values, smooth, coarse before fine, from FOG_THINNEST to 1."""
    height, width = size
    shorter = min(size)
    total = np.zeros(size)
    for octave in range(1, FOG_OCTAVES + 1):
        rows, columns = (1 + int(np.ceil(length / shorter * 2**octave)) for length in size)
        grid = Image.fromarray(rng.normal(size=(rows, columns)).astype(np.float32))
        smooth = grid.resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(smooth, dtype=np.float64) / 2**octave
    low, high = total.min(), total.max()
    relative = (total - low) / (high - low) if high > low else np.ones(size)
    return FOG_THINNEST + (1 - FOG_THINNEST) * relative


def _pixelate(pixels: Pixels, squares: float, rng: np.random.Generator) -> Pixels:
    image = to_image(pixels)
    shorter = min(image.size)
    width, height = (max(1, round(length * squares / shorter)) for length in image.size)
    small = image.resize((width, height), Image.Resampling.BOX)
    return to_pixels(small.resize(image.size, Image.Resampling.NEAREST))


_GRAINED: dict[str, Change] = {
    "gaussian_noise": _add_noise,
    "shot_noise": _count_photons,
    "impulse_noise": _replace,
    "jpeg": _compress,
}
_BLURS: dict[str, Change] = {"defocus_blur": _defocus, "motion_blur": _move}
_CHANGES: dict[str, Change] = {
    "brightness": _brighten,
    "contrast": _flatten,
    "fog": _cover,
    "pixelate": _pixelate,
}
