"""Fashion-MNIST, read in place: 70,000 photographs of clothes, 28 x 28 grey, ten classes.

Xiao, Rasul and Vollgraf, arXiv 1708.07747, MIT licence; Debian packs it as
`dataset-fashion-mnist`. Of the 60,000 training pictures carot-mini-fashion was pre-trained on the
first 40,000, so the splits here are made of the other 20,000 and of the 10,000 test pictures.
"""

from __future__ import annotations

import gzip
import math
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carot.data.source import ArraySource
from carot.errors import DataError

SCHEME = "fashion"
FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package puts it."""
CLASSES = (
    "t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
TEMPLATES = (
    "{}",
    "a photo of a {}.",
    "a picture of a {}.",
    "an image of the {}.",
    "a product photo of a {}.",
    "a {} from a shop.",
    "clothes: {}",
)
SIZE = 28  # pixels along each side

PRETRAINING = range(40_000)
"""The training pictures that the start has seen; no split holds any of them."""
SPLITS = {
    "train": ("train", range(40_000, 52_000)),
    "validation": ("train", range(52_000, 56_000)),
    "calibration": ("train", range(56_000, 60_000)),
    "test": ("t10k", range(10_000)),
}
_COUNTS = {"train": 60_000, "t10k": 10_000}
_IMAGES, _LABELS = 0x803, 0x801  # what the files of pictures and of labels begin with


def fashion(path: Path | None, split: str) -> ArraySource:
    """One split: 12,000 to train, 4,000 to validate, 4,000 to calibrate and 10,000 to test.

    Args:
        path: the folder of the four files; None for where Debian's package puts it.

    Raises:
        DataError: the files are missing or are not those; or `split` does not exist.
    """
    if split not in SPLITS:
        raise DataError(f"split {split!r} is none of {', '.join(SPLITS)}", field="split")
    part, chosen = SPLITS[split]
    return pictures(path, part, chosen)


def pictures(path: Path | None, part: str, chosen: range) -> ArraySource:
    """Some pictures of a file, `train` or `t10k`, keyed by where they stand in it.

    Raises:
        DataError: the files are missing or are not those.
    """
    pixels_NHW, labels_N = _read(FOLDER if path is None else path, part)
    keys = [f"{part}-{index:05d}" for index in chosen]
    where = slice(chosen.start, chosen.stop)
    return ArraySource(pixels_NHW[where], labels_N[where], CLASSES, keys)


@lru_cache(maxsize=4)
def _read(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    count = _COUNTS[part]
    pixels = _idx(folder / f"{part}-images-idx3-ubyte", _IMAGES, (count, SIZE, SIZE))
    labels = _idx(folder / f"{part}-labels-idx1-ubyte", _LABELS, (count,))
    if labels.max() >= len(CLASSES):
        raise DataError(f"{folder.name}: labels of {part} go beyond the {len(CLASSES)} classes")
    return pixels, labels.astype(np.int64)


def _idx(file: Path, magic: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The bytes of an IDX file, packed or not, of the one shape that is expected."""
    packed = file.with_name(file.name + ".gz")
    opened = packed if packed.is_file() else file
    header = np.array([magic, *shape], dtype=">u4").tobytes()
    size = len(header) + math.prod(shape)
    try:
        # One byte more than expected, so that a longer file is noticed, and no more than that.
        with gzip.open(opened) if opened is packed else opened.open("rb") as stream:
            content = stream.read(size + 1)
    except FileNotFoundError:
        raise DataError(
            f"Fashion-MNIST is not in {file.parent.name!r}: `apt-get install "
            f"dataset-fashion-mnist` puts it where `{SCHEME}:` finds it; or name the folder of "
            f"its four files with `{SCHEME}:PATH`",
            field="dataset",
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{opened.name} cannot be read: {error}", field="dataset") from error
    if len(content) != size or not content.startswith(header):
        raise DataError(
            f"{opened.name} is not Fashion-MNIST's: {shape[0]} entries of "
            f"{math.prod(shape[1:])} bytes were expected",
            field="dataset",
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
