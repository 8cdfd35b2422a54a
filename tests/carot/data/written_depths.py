"""Deep images as files, written as other programs write them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's, by number of channels."""


def deep_png(values: NDArray[Any], significant: int | None = None) -> bytes:
    """A 16-bit PNG of (height, width) or (height, width, channels), with sBIT if it is given."""
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    sbit = b"" if significant is None else _chunk(b"sBIT", bytes([significant] * channels))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + sbit
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tiff(values: NDArray[Any], tags: dict[int, int] | None = None, **options: Any) -> bytes:
    """A TIFF of one channel, with further tags."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        info[tag] = value
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF", tiffinfo=info, **options)
    return file.getvalue()


def colour_tiff(values: NDArray[Any], order: str = "<", *, packed: bool = False) -> bytes:
    """A 16-bit RGB TIFF, which Pillow cannot write, in one strip, deflated if `packed`."""
    height, width, channels = values.shape
    strip = values.astype(f"{order}u2").tobytes()
    strip = zlib.compress(strip) if packed else strip
    entries = [(256, 4, width), (257, 4, height), (259, 3, 8 if packed else 1), (262, 3, 2)]
    entries += [(273, 4, 8), (277, 3, channels), (278, 4, height), (279, 4, len(strip))]
    at = 8 + len(strip)
    entries.append((258, 0, at))
    body = strip + struct.pack(f"{order}{channels}H", *[16] * channels)
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in sorted(entries):
        count, kind = (channels, 3) if tag == 258 else (1, kind)
        short = kind == 3 and tag != 258
        packed_value = struct.pack(f"{order}HH" if short else f"{order}I", value, *[0] * short)
        directory += struct.pack(f"{order}HHI", tag, kind, count) + packed_value
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return head + body + directory + bytes(4)
