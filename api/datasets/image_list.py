"""The images of a split by name: what there is to look at, and the bytes of one. No torch.

A name from a request is only ever looked up among those of the list: it never becomes a path.
"""

from __future__ import annotations

import hashlib
import io
from functools import cached_property
from pathlib import Path

from carot.data.formats.folder import FileSource
from carot.data.source import ImageSource
from store.errors import NotFound


class ImageList:
    """The images of one split.

    Attributes:
        source: opened as evaluation opens it, without shift.
        root: what files must lie beneath; None where there are none.
    """

    def __init__(self, source: ImageSource, root: Path | None) -> None:
        self.source = source
        self._root = root

    @cached_property
    def order(self) -> list[int]:
        """All of them, in an order that is always the same and mixes the classes."""
        keys = self.source.keys
        return sorted(
            range(len(keys)), key=lambda i: hashlib.sha256(shown(keys[i]).encode()).digest()
        )

    def index(self, name: str) -> int:
        """Which image has this name.

        Raises:
            NotFound: none.
        """
        found = self._places.get(name)
        if found is None:
            raise NotFound("image", name[:200])
        return found

    def content(self, index: int) -> bytes:
        """The encoded image.

        Raises:
            NotFound: its file is gone, or leads elsewhere.
        """
        if not isinstance(self.source, FileSource):
            file = io.BytesIO()
            self.source.image(index).save(file, "PNG", compress_level=1)
            return file.getvalue()
        path = self.source.items[index].path
        try:
            real = path.resolve(strict=True)
            if self._root is not None and real.is_relative_to(self._root.resolve()):
                return real.read_bytes()
        except (OSError, RuntimeError):
            pass
        raise NotFound("image", shown(self.source.keys[index])[:200])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {shown(key): i for i, key in enumerate(self.source.keys)}


def shown(key: str) -> str:
    """The name of an image in answers: file names can hold bytes that are no text."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")
