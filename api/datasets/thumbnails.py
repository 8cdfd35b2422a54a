"""Threads that each have a child process to make small pictures with."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from api.datasets.child_pool import Children
from carot.data.decoding.decoder_client import DecodeLimits
from carot.data.decoding.depth import UNKNOWN, Depth
from carot.data.decoding.thumbnailer_client import Shift, Thumbnailer

LOSSLESS_PIXELS = 128 * 128
"""Pictures with no more than this are PNGs: small ones are looked at pixel by pixel."""
QUALITY = 85


class Thumbnailers:
    """Makes pictures in children.

    Args:
        processes: pictures made at the same time.
    """

    def __init__(self, processes: int, limits: DecodeLimits) -> None:
        self._children = Children(lambda: Thumbnailer(limits), processes, "thumbnailer")

    def make(
        self,
        content: bytes,
        key: str,
        side: int,
        shift: Shift | None,
        depth: Depth = UNKNOWN,
    ) -> tuple[bytes, str]:
        """An encoded picture and its media type, both of this program's making.

        Raises:
            UnreadableImage, DecoderFailure: as for `Thumbnailer.thumbnail`.
        """

        def work(own: Callable[[], Thumbnailer]) -> tuple[bytes, str]:
            return _encoded(own().thumbnail(content, key, side, shift, depth))

        return self._children.submit(work).result()

    def close(self) -> None:
        """End children and threads, also those at work."""
        self._children.close()


def _encoded(image: Image.Image) -> tuple[bytes, str]:
    file = io.BytesIO()
    if image.width * image.height <= LOSSLESS_PIXELS:
        image.save(file, "PNG", optimize=True)
        return file.getvalue(), "image/png"
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue(), "image/jpeg"
