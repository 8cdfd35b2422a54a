"""The bundled data: real handwritten digits, and printed digits as a shifted set of the same task.

Handwritten: the 1,797 test images of the UCI "Optical Recognition of Handwritten Digits" set
(E. Alpaydin, C. Kaynak, 1998, doi:10.24432/C50P49, CC BY 4.0), as scikit-learn carries them: 8 x 8
counts of 0 to 16. Printed: ten digits each of fonts that carot-mini did not see in pre-training,
shipped as pixels because a fresh machine has no fonts.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carot.data.source import ArraySource
from carot.errors import DataError

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

TEMPLATES = (
    "{}",
    "the digit {}",
    "the number {}",
    "a photo of the digit {}.",
    "a photo of the number {}.",
    "an image of the digit {}.",
    "a picture of a {}.",
    "a handwritten digit {}.",
    "a printed digit {}.",
    "a drawing of the number {}.",
)

SIZE = 32  # pixels; both sets are SIZE x SIZE grey, white ink on black

# Name of each split and the upper end of its share of the unit interval.
_BOUNDS = {"train": 0.45, "validation": 0.55, "calibration": 0.70, "test": 1.0}
SPLITS = tuple(_BOUNDS)

PRINTED_FILE = Path(__file__).parent / "assets" / "printed_digits.npz"


def split_of(content: bytes) -> str:
    """The split that an image belongs to, from the hash of its bytes alone.

    Equal images always share a split, so that no image is both trained on and tested on.
    """
    fraction = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
    return next(name for name, bound in _BOUNDS.items() if fraction < bound)


def handwritten_digits(split: str) -> ArraySource:
    """The handwritten digits of one split (about 45 / 10 / 15 / 30 % of 1,797).

    Raises:
        DataError: the split does not exist; `field` is "split".
    """
    return _select(*_handwritten(), split)


def printed_digits(split: str = "test") -> ArraySource:
    """The printed digits of one split, in the same shares.

    Raises:
        DataError: the split does not exist; `field` is "split".
    """
    return _select(*_printed(), split)


def _select(
    pixels_NHW: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    keys: tuple[str, ...],
    splits: tuple[str, ...],
    split: str,
) -> ArraySource:
    if split not in SPLITS:
        raise DataError(f"split {split!r} is none of {', '.join(SPLITS)}", field="split")
    chosen = [index for index, name in enumerate(splits) if name == split]
    return ArraySource(pixels_NHW[chosen], labels_N[chosen], CLASSES, [keys[i] for i in chosen])


Digits = tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...], tuple[str, ...]]


def _described(
    pixels_NHW: NDArray[np.uint8], labels_N: NDArray[np.int64], contents: list[bytes]
) -> Digits:
    """Pixels, labels, unique keys and splits of N images, whose identity is `contents`."""
    digests = [hashlib.sha256(content).hexdigest()[:16] for content in contents]
    keys = tuple(f"{digest}-{index:04d}" for index, digest in enumerate(digests))
    return pixels_NHW, labels_N, keys, tuple(map(split_of, contents))


@cache
def _handwritten() -> Digits:
    from sklearn.datasets import load_digits  # takes most of a second that few runs need

    bunch = load_digits()
    cells_N88 = bunch.images.astype(np.uint8)
    pixels_NHW = np.stack([_upscaled(cells_88) for cells_88 in cells_N88])
    contents = [cells_88.tobytes() for cells_88 in cells_N88]
    return _described(pixels_NHW, bunch.target.astype(np.int64), contents)


def _upscaled(cells_88: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Counts of 0 to 16 in 8 x 8 cells as SIZE x SIZE grey values."""
    grey = Image.fromarray((cells_88 * (255 / 16)).round().astype(np.uint8))
    return np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@cache
def _printed() -> Digits:
    with np.load(PRINTED_FILE, allow_pickle=False) as archive:
        pixels_NHW, labels_N = archive["pixels"], archive["labels"].astype(np.int64)
    return _described(pixels_NHW, labels_N, [image.tobytes() for image in pixels_NHW])
