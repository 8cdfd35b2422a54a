"""The numbers in files of more than eight bits, what the files say of them, and eight bits of each.

Pillow reduces colours of 16 bits to their upper bytes while it decodes. The lower bytes come from
a second pass in which it is told the other byte order.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from carot.data.decoding.depth import (
    GREY,
    INTEGERS,
    OTHER_ORDER,
    REALS,
    Depth,
    Kind,
    Span,
    colour_mode,
    span_of,
    whole_bits,
)
from carot.data.decoding.orientation import upright

PNG_START = 8
ROWS = 256
"""Scaled at a time."""
CHUNKS = 64
"""Looked at for sBIT, which stands before the pixels."""
BITS_PER_SAMPLE, PHOTOMETRIC, LEAST, GREATEST, FORMAT = 258, 262, 280, 281, 339
LEAST_OF_FORMAT, GREATEST_OF_FORMAT = 340, 341
WHITE_IS_ZERO, UNSIGNED = 0, 1


@dataclass(frozen=True)
class Samples:
    """The numbers of a decoded image of more than eight bits.

    Attributes:
        values: of shape (height, width) or (height, width, channels).
        declared: black and white, where the file says what they are.
        is_16_bit: unsigned integers of 16 bits, whose full range is a usual one.
        alpha: of shape (height, width, 1), in eight bits already.
    """

    values: NDArray[np.generic]
    declared: Span | None
    is_16_bit: bool
    alpha: NDArray[np.uint8] | None = None

    @property
    def kind(self) -> Kind:
        """Integers or numbers with a fraction."""
        return "reals" if self.values.dtype.kind == "f" else "integers"

    def extremes(self) -> Span:
        """The least and the greatest finite number; (0, 0) where none is finite."""
        values = self.values
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)

    def eight_bits(self, depth: Depth) -> NDArray[np.uint8]:
        """The same scaled to 0 to 255; what is beyond black and white is cut, NaN is black."""
        black, white = self.declared or self._span(depth)
        found = np.empty(self.values.shape, np.uint8)
        for first in range(0, len(self.values), ROWS):  # at little memory
            rows = self.values[first : first + ROWS].astype(np.float64)
            scaled = (rows - black) * (255.0 / ((white - black) or 1.0))
            found[first : first + ROWS] = np.nan_to_num(scaled.round().clip(0, 255), nan=0.0)
        return found if self.alpha is None else np.concatenate([found, self.alpha], axis=2)

    def _span(self, depth: Depth) -> Span:
        low, high = self.extremes()
        known = depth.integers if self.kind == "integers" else depth.reals
        # A set's own span cuts what is beyond it; beyond a usual one are other numbers altogether.
        if known and (known not in REALS or (known[0] <= low and high <= known[1])):
            return known
        return INTEGERS[2] if self.is_16_bit else span_of(self.kind, low, high)


def scaled(image: Image.Image, depth: Depth) -> Image.Image:
    """A decoded grey image of more than eight bits, of which no file says anything, in eight."""
    values = np.asarray(image)
    return Image.fromarray(Samples(values, None, values.dtype == np.uint16).eight_bits(depth))


def samples_of(image: ImageFile.ImageFile, content: bytes | Path | BinaryIO) -> Samples:
    """The numbers of a deep image that was opened from `content` and not yet decoded; upright."""
    declared = _declared(image, content)
    if image.mode not in GREY:
        channels = _colours(image, content)
        values: NDArray[np.generic] = channels[..., :3]
        alpha = _eight_bits_of_alpha(channels[..., 3:]) if channels.shape[2] == 4 else None
        return Samples(values, _right_aligned(declared, values), True, alpha)
    image.load()
    values = np.asarray(upright(image))
    if _tag(image, FORMAT) == UNSIGNED and values.dtype == np.int32:
        values = values.view(np.uint32)  # Pillow knows signed ones only
    if image.format == "PNG":
        declared = _right_aligned(declared, values)
    if _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:
        values, declared = _inverted(values, declared)
    return Samples(values, declared, values.dtype == np.uint16 or image.format == "PPM")


def _colours(image: ImageFile.ImageFile, content: bytes | Path | BinaryIO) -> NDArray[np.uint16]:
    """Colours of 16 bits as (height, width, channels)."""
    raw = colour_mode(image)
    assert raw is not None, "a deep image"
    with _opened_again(content) as low:
        low.tile = [
            tile._replace(args=_with_mode(tile.args, raw[:-4] + OTHER_ORDER[raw[-4:]]))
            for tile in low.tile
        ]
        for each in (image, low):
            each.load()
        upper = np.asarray(upright(image), np.uint16)
        lower = np.asarray(upright(low), np.uint16)
        values: NDArray[np.uint16] = upper * np.uint16(256) + lower
        return values


def _eight_bits_of_alpha(alpha_HW1: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Alpha that never passes 4095 has 12 bits: an image that is hardly there is none."""
    white = INTEGERS[1][1] if alpha_HW1.max(initial=0) <= INTEGERS[1][1] else INTEGERS[2][1]
    scaled: NDArray[np.uint8] = (alpha_HW1 * (255.0 / white)).round().astype(np.uint8)
    return scaled


def _with_mode(args: tuple[Any, ...] | str | None, raw: str) -> tuple[Any, ...] | str:
    return (raw, *args[1:]) if isinstance(args, tuple) else raw


def _opened_again(content: bytes | Path | BinaryIO) -> ImageFile.ImageFile:
    if isinstance(content, bytes):
        return Image.open(io.BytesIO(content), formats=("PNG", "TIFF"))
    if isinstance(content, Path):
        return Image.open(content, formats=("PNG", "TIFF"))
    content.seek(0)
    return Image.open(io.BytesIO(content.read()), formats=("PNG", "TIFF"))


def _declared(image: ImageFile.ImageFile, content: bytes | Path | BinaryIO) -> Span | None:
    """Black and white as the file says them."""
    if image.format == "PPM" and image.tile[0].codec_name == "ppm":
        return INTEGERS[2]  # Pillow scales to this what has another greatest value
    if image.format == "PNG":
        bits = _significant_bits(content)
        return None if bits is None or not 8 < bits < 16 else (0.0, 2.0**bits - 1)
    if image.format != "TIFF":
        return None
    low, high = _number(image, LEAST_OF_FORMAT), _number(image, GREATEST_OF_FORMAT)
    if low is not None and high is not None and low < high:
        return low, high
    if image.mode == "F":
        return None
    if _tag(image, BITS_PER_SAMPLE) == 12:
        return INTEGERS[1]
    greatest = _number(image, GREATEST)
    return None if greatest is None or greatest < 1 else whole_bits(greatest)


def _right_aligned(declared: Span | None, values: NDArray[np.generic]) -> Span | None:
    """What sBIT says, where the bits stand at the lower end: PNG wants them at the upper one.

    At the upper end the lower bits of a dark image are all zero.
    """
    if declared is None:
        return None
    unused = round(np.log2((2.0**16) / (declared[1] + 1)))
    numbers = values.astype(np.uint16)
    at_lower_end = numbers.max(initial=0) <= declared[1] and bool((numbers % 2**unused).any())
    return declared if at_lower_end else INTEGERS[2]


def _inverted(
    values: NDArray[np.generic], declared: Span | None
) -> tuple[NDArray[np.generic], Span | None]:
    """A TIFF whose zero is white."""
    if values.dtype != np.uint16:
        return values, None if declared is None else (declared[1], declared[0])
    white = 65535 if declared is None else int(declared[1])
    return (white - values.astype(np.int64)).clip(0).astype(np.uint16), declared


def _significant_bits(content: bytes | Path | BinaryIO) -> int | None:
    """The largest number of PNG's sBIT chunk; Pillow passes over it."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            return _in_chunks(file)
    if isinstance(content, bytes):
        return _in_chunks(io.BytesIO(content))
    return _in_chunks(content)


def _in_chunks(file: BinaryIO) -> int | None:
    at, found = file.tell(), None
    file.seek(PNG_START)
    for _ in range(CHUNKS):
        head = file.read(8)
        size = int.from_bytes(head[:4], "big")
        if len(head) < 8 or head[4:] == b"IDAT":
            break
        if head[4:] == b"sBIT" and 1 <= size <= 4:
            found = max(file.read(size))
            break
        file.seek(size + 4, io.SEEK_CUR)
    file.seek(at)
    return found


def _number(image: Image.Image, tag: int) -> float | None:
    value = _tag(image, tag)
    return float(value) if isinstance(value, int | float) else None


def _tag(image: Image.Image, tag: int) -> object:
    """The first value of a TIFF's tag."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    value = image.tag_v2.get(tag)
    return value[0] if isinstance(value, tuple) and value else value
