"""`python -m carot.data.decoding.thumbnailer_process PARENT MEMORY`: small pictures, from a socket.

As `carot.data.decoding.decoder_process`, with another request: the image is shifted as evaluation
shifts it, at its full size, before it is scaled down. The other side is
`carot.data.decoding.thumbnailer_client`.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import warnings

from PIL import Image

from carot.data.decoding.confinement import confine
from carot.data.decoding.decoder_process import (
    ANSWER,
    MAX_REASON,
    PIXELS,
    READY,
    UNREADABLE,
    packed_depth,
    received,
    unpacked_depth,
)
from carot.data.decoding.depth import Depth
from carot.data.decoding.images import TOO_MUCH_MEMORY, decode_image, load_formats
from carot.data.shifts.corruptions import CORRUPTIONS, corrupt_image
from carot.data.shifts.shifts import distort_printed, shift_image
from carot.errors import DataError, UnreadableImage

MODULE = "carot.data.decoding.thumbnailer_process"
REQUEST = struct.Struct("!IHBHH4d")
"""Bytes of the image; longest side of the answer in pixels; severity; bytes of the shift's name,
0 for none, and of the image's; a depth. Names follow, then the image."""
OPEN_FILES = 16


def packed(size: int, side: int, shift: str, severity: int, key: str, depth: Depth) -> bytes:
    """The head of a request, with both names."""
    names = shift.encode(), key.encode("utf-8", "surrogateescape")
    lengths = map(len, names)
    return REQUEST.pack(size, side, severity, *lengths, *packed_depth(depth)) + b"".join(names)


def main() -> None:
    """Serve until the other side closes."""
    parent, memory_bytes = map(int, sys.argv[1:])
    link = socket.socket(fileno=0)
    warnings.simplefilter("ignore")
    load_formats()
    confine(memory_bytes=memory_bytes, file_bytes=0, open_files=OPEN_FILES, parent=parent)
    # Decoders in C write what they think of an image there: as much as its sender likes.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    link.sendall(READY)
    while head := received(link, REQUEST.size):
        size, side, severity, *lengths, _, _, _, _ = numbers = REQUEST.unpack(head)
        depth = unpacked_depth(numbers[-4:])
        shift, key = (received(link, n).decode("utf-8", "surrogateescape") for n in lengths)
        link.sendall(_answer(received(link, size), side, shift, severity, key, depth))


def _answer(content: bytes, side: int, shift: str, severity: int, key: str, depth: Depth) -> bytes:
    try:
        image = decode_image(content, "image", depth)
        if shift:
            image = _shifted(image, shift, severity, key)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        pixels = image.tobytes()
        return ANSWER.pack(PIXELS, *image.size, len(pixels)) + pixels
    except UnreadableImage as error:
        reason = error.reason
    except (DataError, UnicodeEncodeError) as error:
        reason = str(error)
    except MemoryError:
        reason = TOO_MUCH_MEMORY
    text = reason[:MAX_REASON].encode("utf-8", "replace")
    return ANSWER.pack(UNREADABLE, 0, 0, len(text)) + text


def _shifted(image: Image.Image, shift: str, severity: int, key: str) -> Image.Image:
    """As `carot.data.resolve` opens a row."""
    if shift == "printed":
        return distort_printed(image, severity, key)
    change = corrupt_image if shift in CORRUPTIONS else shift_image
    return change(image, shift, severity, key)


if __name__ == "__main__":
    main()
