"""Images decoded in child processes, some at a time. Belongs to one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from carot.data.decoding.decoder_client import DecodeLimits, Decoder, Pixels
from carot.data.decoding.depth import UNKNOWN, Depth
from carot.data.decoding.resampling import Fit


class Decoders:
    """Decodes images in children.

    The event loop talks to them itself: it writes an image and is woken by the answer, where a
    thread in between would have to be woken twice.

    Args:
        processes: images decoded at the same time.
    """

    def __init__(self, processes: int, limits: DecodeLimits) -> None:
        self._children = [Decoder(limits) for _ in range(processes)]
        self._idle = [*self._children]
        self._turns = asyncio.Semaphore(processes)
        self._starting: set[asyncio.Task[None]] = set()

    async def decode(
        self,
        content: bytes,
        name: str,
        fit: Fit | None = None,
        depth: Depth = UNKNOWN,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Pixels | None:
        """An image's pixels; None for one that is not wanted any more when its turn comes.

        Raises:
            UnreadableImage, DecoderFailure: see `Decoder.decode`.
        """
        async with self._child() as child:
            return await child.decode(content, name, fit, depth) if wanted() else None

    def warm(self) -> None:
        """Start the children, so that the first images do not wait for them. Returns at once."""
        if not self._starting:
            task = asyncio.ensure_future(self._start())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    def pids(self) -> list[int]:
        """The processes that are there. Any thread may ask."""
        return [pid for child in self._children if (pid := child.pid) is not None]

    def close(self) -> None:
        """End the children, also those at work. Any thread may."""
        for child in self._children:
            child.retire()
        for child in self._children:
            child.close()

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[Decoder]:
        async with self._turns:
            child = self._idle.pop()  # the one that worked last, whose memory is still at hand
            try:
                yield child
            finally:
                self._idle.append(child)

    async def _start(self) -> None:
        async def start() -> None:
            async with self._child() as child:
                await child.start()

        await asyncio.gather(*(start() for _ in self._children), return_exceptions=True)
