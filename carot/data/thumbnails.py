"""Small pictures of images, shifted as evaluation shifts them: the parent's side of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from carot.data.decoding import Decoder
from carot.data.thumbnailer import MODULE, packed

__all__ = ["LARGEST_SIDE", "Shift", "Thumbnailer"]

LARGEST_SIDE = 1024


@dataclass(frozen=True)
class Shift:
    """One of the shifts of a report, and how severe it is, 1 to 5."""

    name: str
    severity: int


class Thumbnailer(Decoder):
    """A child that decodes, shifts and scales down; as for `Decoder`, one for one thread."""

    module: ClassVar[str] = MODULE

    def thumbnail(
        self, content: bytes, key: str, side: int, shift: Shift | None = None
    ) -> Image.Image:
        """An image, RGB, with neither side above `side` pixels; never larger than it is.

        Args:
            content: the encoded image.
            key: its name in its data set, which seeds the shift.
            side: 1 to LARGEST_SIDE.

        Raises:
            UnreadableImage: as for `decode`; or the shift is none, or takes too much memory.
            DecoderFailure: the child cannot be started.
        """
        assert 1 <= side <= LARGEST_SIDE
        name, severity = (shift.name, shift.severity) if shift is not None else ("", 0)
        head = packed(len(content), side, name, severity, key)
        return self._ask(head, content, key, lambda width, height: max(width, height) <= side)
