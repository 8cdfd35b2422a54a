"""Threads that each have a child process to decode images with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from PIL import Image

from carot.data.decoding import DecodeLimits, Decoder
from carot.data.fitting import Fit
from carot.errors import UnreadableImage

T = TypeVar("T")


class Decoders:
    """A pool that starts threads and their children as images come.

    Args:
        processes: images decoded at the same time.
    """

    def __init__(self, processes: int, limits: DecodeLimits) -> None:
        self._limits = limits
        self._processes = processes
        self._pool = ThreadPoolExecutor(processes, thread_name_prefix="image-decoder")
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._children: list[Decoder] = []
        self._closed = False

    def submit(
        self,
        content: bytes,
        name: str,
        fit: Fit | None,
        then: Callable[[Image.Image], T],
        wanted: Callable[[], bool] = lambda: True,
    ) -> Future[T | UnreadableImage | None]:
        """What `then` makes of the decoded image, or why it cannot be read.

        Args:
            wanted: asked when it is the image's turn; if it says no, the result is None.
        """

        def work() -> T | UnreadableImage | None:
            if not wanted():
                return None
            try:
                return then(self._own().decode(content, name, fit))
            except UnreadableImage as error:
                return error

        return self._pool.submit(work)

    def warm(self) -> None:
        """Start the children, so that the first images do not wait for them. Returns at once."""
        for _ in range(self._processes):
            self._pool.submit(lambda: self._own().start())

    def pids(self) -> list[int]:
        """The processes that are there."""
        with self._lock:
            return [pid for child in self._children if (pid := child.pid) is not None]

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

    def _own(self) -> Decoder:
        mine: Decoder | None = getattr(self._mine, "decoder", None)
        if mine is None:
            mine = self._mine.decoder = Decoder(self._limits)
            with self._lock:
                self._children.append(mine)
                if self._closed:
                    mine.retire()
        return mine
