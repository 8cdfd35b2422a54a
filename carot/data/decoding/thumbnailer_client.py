"""Small pictures of images, shifted as evaluation shifts them: the parent's side of it."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from carot.data.decoding.child_process import (
    GRACE_SECONDS,
    START_SECONDS,
    Child,
    DecodeLimits,
    answer_of,
    did_not_start,
    ends_it,
    takes_too_long,
)
from carot.data.decoding.decoder_process import ANSWER, READY
from carot.data.decoding.depth import UNKNOWN, Depth
from carot.data.decoding.thumbnailer_process import MODULE, packed
from carot.errors import UnreadableImage

__all__ = ["LARGEST_SIDE", "Shift", "Thumbnailer"]

LARGEST_SIDE = 1024


@dataclass(frozen=True)
class Shift:
    """One of the shifts of a report, and how severe it is, 1 to 5."""

    name: str
    severity: int


class Thumbnailer(Child):
    """A child that decodes, shifts and scales down, for one thread that waits for it."""

    module: ClassVar[str] = MODULE

    def __init__(self, limits: DecodeLimits) -> None:
        super().__init__(limits)
        self._link: socket.socket | None = None

    def thumbnail(
        self,
        content: bytes,
        key: str,
        side: int,
        shift: Shift | None = None,
        depth: Depth = UNKNOWN,
    ) -> Image.Image:
        """An image, RGB, with neither side above `side` pixels; never larger than it is.

        Args:
            content: the encoded image.
            key: its name in its data set, which seeds the shift.
            side: 1 to LARGEST_SIDE.
            depth: see `decode_image`.

        Raises:
            UnreadableImage: see `decode_image`; or it takes too much memory or time, or crashes
                the child; or the shift is none.
            DecoderFailure: the child cannot be started.
        """
        assert 1 <= side <= LARGEST_SIDE
        name, severity = (shift.name, shift.severity) if shift is not None else ("", 0)
        head = packed(len(content), side, name, severity, key, depth)
        if self._has_died():
            self._stop()  # killed while it had nothing to do: no image's fault
        self._start()
        try:
            return self._exchange(head, content, key, side)
        except UnreadableImage:
            raise
        except TimeoutError:
            self._stop()
            reason = takes_too_long(self._limits)
        except OSError:
            reason = ends_it(self._stop(GRACE_SECONDS))
        except BaseException:
            self._stop()  # in the middle of an answer: the next would be read from there
            raise
        raise UnreadableImage(key, reason)

    def close(self) -> None:
        self.retire()
        self._stop()

    def _start(self) -> None:
        if self._process is not None:
            return
        self._link = self._launch()
        try:
            self._link.settimeout(START_SECONDS)
            ready = self._link.recv(1)
        except OSError:
            ready = b""
        if ready != READY:
            raise did_not_start(self._stop(GRACE_SECONDS))

    def _exchange(self, head: bytes, content: bytes, key: str, side: int) -> Image.Image:
        deadline = time.monotonic() + self._limits.seconds
        assert self._link is not None, "_start() made it"
        self._link.settimeout(self._limits.seconds)
        self._link.sendall(head)
        self._link.sendall(content)
        width, height, size, ok = answer_of(
            self._received(ANSWER.size, deadline), lambda *sides: max(sides) <= side
        )
        body = self._received(size, deadline)
        if not ok:
            raise UnreadableImage(key, body.decode("utf-8", "replace"))
        return Image.frombytes("RGB", (width, height), body)

    def _received(self, size: int, deadline: float) -> bytes:
        assert self._link is not None, "_start() made it"
        content = bytearray(size)
        view, got = memoryview(content), 0
        while got < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._link.settimeout(left)
            count = self._link.recv_into(view[got:])
            if count == 0:
                raise ConnectionError("the child has ended")
            got += count
        return bytes(content)

    def _stop(self, grace: float = 0.0) -> int | None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
        return self._end(grace)
