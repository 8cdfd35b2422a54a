"""Threads that each have a child process to make small pictures with."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from carot.data.decoding import DecodeLimits
from carot.data.thumbnails import Shift, Thumbnailer

LOSSLESS_PIXELS = 128 * 128
"""Pictures with no more than this are PNGs: small ones are looked at pixel by pixel."""
QUALITY = 85


class Thumbnailers:
    """A pool that starts threads and their children as pictures are asked for.

    Args:
        processes: pictures made at the same time.
    """

    def __init__(self, processes: int, limits: DecodeLimits) -> None:
        self._limits = limits
        # Threads that live on: to the kernel, a child's parent is the thread that started it.
        self._pool = ThreadPoolExecutor(processes, thread_name_prefix="thumbnailer")
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._children: list[Thumbnailer] = []
        self._closed = False

    def make(self, content: bytes, key: str, side: int, shift: Shift | None) -> tuple[bytes, str]:
        """An encoded picture and its media type, both of this program's making.

        Raises:
            UnreadableImage, DecoderFailure: as for `Thumbnailer.thumbnail`.
        """

        def work() -> tuple[bytes, str]:
            return _encoded(self._own().thumbnail(content, key, side, shift))

        return self._pool.submit(work).result()

    def close(self) -> None:
        """End children and threads, also those at work."""
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            child.retire()
        self._pool.shutdown(cancel_futures=True)
        for child in children:
            child.close()

    def _own(self) -> Thumbnailer:
        mine: Thumbnailer | None = getattr(self._mine, "child", None)
        if mine is None:
            mine = self._mine.child = Thumbnailer(self._limits)
            with self._lock:
                self._children.append(mine)
                if self._closed:
                    mine.retire()
        return mine


def _encoded(image: Image.Image) -> tuple[bytes, str]:
    file = io.BytesIO()
    if image.width * image.height <= LOSSLESS_PIXELS:
        image.save(file, "PNG", optimize=True)
        return file.getvalue(), "image/png"
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue(), "image/jpeg"
