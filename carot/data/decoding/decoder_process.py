"""`python -m carot.data.decoding.decoder_process PARENT MEMORY`: decodes images from a socket.

Loads Pillow and nothing larger. Standard input is one end of a socket pair: on each request, the
encoded bytes of an image behind `REQUEST`, it answers with pixels or with a reason, behind
`ANSWER`. The end of the socket ends it. The other side is `carot.data.decoding.decoder_client`.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import sys
import warnings
from collections.abc import Sequence

from carot.data.decoding.confinement import confine
from carot.data.decoding.depth import Depth, Span
from carot.data.decoding.images import TOO_MUCH_MEMORY, decode_image, load_formats
from carot.data.decoding.resampling import INTERPOLATIONS, Fit, Mode
from carot.errors import UnreadableImage

READY = b"\x01"
REQUEST = struct.Struct("!IBBHH4d")
"""Bytes of the image; a fit: its mode and filter (see `packed`), height and width; a depth."""
ANSWER = struct.Struct("!BIII")
"""Status; width and height in pixels; bytes that follow: RGB, or a reason in UTF-8."""
MODES: tuple[Mode, ...] = ("shortest", "squash")
FILTERS = tuple(INTERPOLATIONS)
PIXELS, UNREADABLE = 0, 1
NOTHING: Span = (math.nan, math.nan)
MAX_REASON = 500
OPEN_FILES = 16


def packed(fit: Fit | None, depth: Depth, size: int) -> bytes:
    """The head of a request. Modes count from 1; 0 is none."""
    spans = packed_depth(depth)
    if fit is None:
        return REQUEST.pack(size, 0, 0, 0, 0, *spans)
    where = (MODES.index(fit.mode) + 1, FILTERS.index(fit.interpolation))
    return REQUEST.pack(size, *where, fit.height, fit.width, *spans)


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
        size, mode, interpolation, height, width, *spans = REQUEST.unpack(head)
        fit = Fit(height, width, MODES[mode - 1], FILTERS[interpolation]) if mode else None
        link.sendall(_answer(received(link, size), fit, unpacked_depth(spans)))


def packed_depth(depth: Depth) -> tuple[float, ...]:
    """Four numbers, which are NaN where nothing is known."""
    return (*(depth.integers or NOTHING), *(depth.reals or NOTHING))


def unpacked_depth(numbers: Sequence[float]) -> Depth:
    """What `packed_depth` has packed."""
    integers, reals = numbers[:2], numbers[2:]
    return Depth(
        None if math.isnan(integers[0]) else (integers[0], integers[1]),
        None if math.isnan(reals[0]) else (reals[0], reals[1]),
    )


def _answer(content: bytes, fit: Fit | None, depth: Depth) -> bytes:
    try:
        image = decode_image(content, "image", depth)
        if fit is not None:
            image = fit(image)
        pixels = image.tobytes()
        return ANSWER.pack(PIXELS, *image.size, len(pixels)) + pixels
    except UnreadableImage as error:
        reason = error.reason
    except MemoryError:
        reason = TOO_MUCH_MEMORY
    text = reason[:MAX_REASON].encode("utf-8", "replace")
    return ANSWER.pack(UNREADABLE, 0, 0, len(text)) + text


def received(link: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or none when the other side has gone."""
    content = bytearray(size)
    view, got = memoryview(content), 0
    while got < size:
        count = link.recv_into(view[got:])
        if count == 0:
            return b""
        got += count
    return bytes(content)


if __name__ == "__main__":
    main()
