"""Images decoded in child processes, each with a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from PIL import Image

from api.children import Children
from carot.data.decoding import DecodeLimits, Decoder
from carot.data.fitting import Fit
from carot.errors import UnreadableImage

T = TypeVar("T")


class Decoders:
    """Decodes images in children.

    Args:
        processes: images decoded at the same time.
    """

    def __init__(self, processes: int, limits: DecodeLimits) -> None:
        self._children = Children(lambda: Decoder(limits), processes, "image-decoder")

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

        def work(own: Callable[[], Decoder]) -> T | UnreadableImage | None:
            if not wanted():
                return None
            try:
                return then(own().decode(content, name, fit))
            except UnreadableImage as error:
                return error

        return self._children.submit(work)

    def warm(self) -> None:
        """Start the children, so that the first images do not wait for them. Returns at once."""
        for _ in range(self._children.count):
            self._children.submit(lambda own: own().start())

    def pids(self) -> list[int]:
        """The processes that are there."""
        return self._children.pids()

    def close(self) -> None:
        """End children and threads, also those at work."""
        self._children.close()
