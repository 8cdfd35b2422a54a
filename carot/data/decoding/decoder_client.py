"""Images decoded by a child process with bounded memory and time: the parent's side of it.

A child is started with the first image and kept; one that dies, answers nonsense or takes too long
is killed, its image counts as unreadable, and the next image gets another child.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, NamedTuple

from PIL import Image

from carot.data.decoding.child_process import (
    GRACE_SECONDS,
    START_SECONDS,
    Child,
    DecodeLimits,
    DecoderFailure,
    answer_of,
    did_not_start,
    ends_it,
    takes_too_long,
)
from carot.data.decoding.decoder_process import ANSWER, READY, packed
from carot.data.decoding.depth import UNKNOWN, Depth
from carot.data.decoding.resampling import Fit
from carot.errors import UnreadableImage

__all__ = ["DecodeLimits", "Decoder", "DecoderFailure", "Pixels"]

BUFFER_BYTES = 1 << 20
"""Of an answer, taken from the child before anybody asks for it: pixels of most models' inputs."""


class Pixels(NamedTuple):
    """A decoded image.

    Attributes:
        content: 3 · width · height bytes, RGB, row by row.
    """

    width: int
    height: int
    content: bytes

    def image(self) -> Image.Image:
        """The same for Pillow."""
        return Image.frombytes("RGB", (self.width, self.height), self.content)


class Decoder(Child):
    """One child, for one image at a time, and for the event loop in which it is first used."""

    module: ClassVar[str] = "carot.data.decoding.decoder_process"

    def __init__(self, limits: DecodeLimits) -> None:
        super().__init__(limits)
        self._link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Have a child at hand; otherwise the first image waits for it.

        Raises:
            DecoderFailure: there is none to be had.
        """
        if self._process is not None:
            return
        self._loop = asyncio.get_running_loop()
        ours = self._launch()
        try:
            link = self._link = await asyncio.open_connection(sock=ours, limit=BUFFER_BYTES)
        except BaseException:
            ours.close()
            await self._stop()
            raise
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await link[0].read(1)
        except OSError:  # a timeout is one
            ready = b""
        except BaseException:
            await self._stop()
            raise
        if ready != READY:
            raise did_not_start(await self._stop(GRACE_SECONDS))

    async def decode(
        self, content: bytes, name: str, fit: Fit | None = None, depth: Depth = UNKNOWN
    ) -> Pixels:
        """The first frame of an image, upright, RGB, brought to `fit` if one is given.

        Args:
            depth: see `decode_image`.

        Raises:
            UnreadableImage: see `decode_image`; or it takes too much memory or time, or crashes
                the decoder.
            DecoderFailure: the child cannot be started, or was closed.
        """
        if self._has_died():
            await self._stop()  # killed while it had nothing to do: no image's fault
        await self.start()
        try:
            async with asyncio.timeout(self._limits.seconds):
                found = await self._exchange(content, fit, depth)
        except TimeoutError:
            await self._stop()
            reason = takes_too_long(self._limits)
        except (OSError, EOFError):
            reason = ends_it(await self._stop(GRACE_SECONDS))
        except BaseException:
            await self._stop()  # in the middle of an answer: the next would be read from there
            raise
        else:
            if isinstance(found, Pixels):
                return found
            reason = found
        if self._retired:
            raise DecoderFailure("the image decoder is closed")
        raise UnreadableImage(name, reason)

    def close(self) -> None:
        super().close()
        link, self._link = self._link, None
        if link is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(link[1].close)

    async def _exchange(self, content: bytes, fit: Fit | None, depth: Depth) -> Pixels | str:
        """Pixels, or the child's reason why there are none."""
        link = self._link
        if link is None:
            raise ConnectionError("closed by another thread since it was started")
        reader, writer = link
        writer.write(packed(fit, depth, len(content)))
        writer.write(content)

        def fits(width: int, height: int) -> bool:
            return fit is None or (width, height) == (fit.width, fit.height)

        width, height, size, ok = answer_of(await reader.readexactly(ANSWER.size), fits)
        body = await reader.readexactly(size)
        return Pixels(width, height, body) if ok else body.decode("utf-8", "replace")

    async def _stop(self, grace: float = 0.0) -> int | None:
        """As `_end`, while the event loop goes on."""
        link, self._link = self._link, None
        if link is not None:
            link[1].close()
        return await asyncio.shield(asyncio.to_thread(self._end, grace))
