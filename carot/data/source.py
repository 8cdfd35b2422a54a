"""The one shape that every data set has once it is opened: keys, labels and images by index."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carot.data.decoding.depth import UNKNOWN, Depth
from carot.data.decoding.images import decode_image
from carot.errors import UnreadableImage
from carot.warnings import CodedWarning


@dataclass(frozen=True)
class Blocks:
    """Stretches of a source that are cheap to read together, such as the row groups of a file.

    Attributes:
        ranges: not empty, in ascending order; together they are 0 to N - 1.
        window: how many of them can be read from in turn without reading one of them twice.
    """

    ranges: tuple[range, ...]
    window: int

    def __post_init__(self) -> None:
        assert self.window >= 1
        assert all(block.step == 1 and len(block) > 0 for block in self.ranges)
        assert all(a.stop == b.start for a, b in pairwise((range(0), *self.ranges)))


class ImageSource(ABC):
    """N labelled images of C classes.

    Attributes:
        classes: C class names; a label is an index into them.
        keys: N stable names, unique in the source (a relative path, a content hash). They seed
            everything that is drawn per image, so that a shift is the same in every run.
        labels: N class indices, int64.
        members: for each class, the names of the classifier's classes that it stands for; None
            where each stands for the one of its own name.
        blocks: what is cheap to read together; None where any order is as good as another.
        depth: how files of more than eight bits are read.
        captions: for each image, what is said of it besides its class; None where nothing is.
        warnings: what whoever trains on it or measures with it should know.
    """

    classes: tuple[str, ...]
    keys: Sequence[str]
    labels: NDArray[np.int64]
    members: tuple[tuple[str, ...], ...] | None = None
    blocks: Blocks | None = None
    depth: Depth = UNKNOWN
    captions: Sequence[tuple[str, ...]] | None = None
    warnings: tuple[CodedWarning, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @abstractmethod
    def image(self, index: int) -> Image.Image:
        """The image at `index` as RGB.

        Raises:
            UnreadableImage: it cannot be decoded, or is larger than the project accepts.
        """

    def mark(self, index: int) -> bytes:
        """What changes when the image does, as far as can be told without reading it."""
        return b""


class EncodedSource(ImageSource):
    """Images in files of their own or inside others, decoded when asked for.

    Attributes:
        may_share_images: with its other splits; not where images are dealt out by their content.
    """

    may_share_images: bool = True

    @abstractmethod
    def content(self, index: int) -> bytes | Path:
        """The encoded image at `index`, or the file that is it.

        Raises:
            UnreadableImage: it cannot be read.
        """

    def size(self, index: int) -> int:
        """Bytes of the encoded image; -1 where they are not known without reading it."""
        try:
            content = self.content(index)
            return content.stat().st_size if isinstance(content, Path) else -1
        except (OSError, UnreadableImage):
            return -1

    def image(self, index: int) -> Image.Image:
        return decode_image(self.content(index), self.keys[index], self.depth)

    def mark(self, index: int) -> bytes:
        content = self.content(index)
        return file_mark(content) if isinstance(content, Path) else b""


def underlying(source: ImageSource) -> ImageSource:
    """What a source that shows another's images shows in the end."""
    while isinstance(source, _Derived):
        source = source.base
    return source


def file_mark(path: Path) -> bytes:
    """Size and time of the last change of a file; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return b""
    return f"{status.st_size} {status.st_mtime_ns}".encode()


class ArraySource(ImageSource):
    """Images held in memory, uint8, of shape (N, height, width) or (N, height, width, 3)."""

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        classes: Sequence[str],
        keys: Sequence[str],
    ) -> None:
        self.pixels = pixels
        self.labels = labels
        self.classes = tuple(classes)
        self.keys = list(keys)

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index]).convert("RGB")

    def mark(self, index: int) -> bytes:
        return hashlib.sha256(self.pixels[index].tobytes()).digest()


class _Derived(ImageSource):
    """What shows the images of another source, which is read as this one is."""

    base: ImageSource

    @property
    def depth(self) -> Depth:
        return self.base.depth

    @depth.setter
    def depth(self, depth: Depth) -> None:
        self.base.depth = depth


class ShiftedSource(_Derived):
    """Another source seen through a deterministic change of each image.

    Args:
        base: the source whose keys, labels and classes stay as they are.
        change: (image, key) -> image of the same size.
    """

    def __init__(
        self, base: ImageSource, change: Callable[[Image.Image, str], Image.Image]
    ) -> None:
        self.base = base
        self.change = change
        self.classes = base.classes
        self.keys = base.keys
        self.labels = base.labels
        self.members = base.members
        self.blocks = base.blocks
        self.captions = base.captions
        self.warnings = base.warnings

    def image(self, index: int) -> Image.Image:
        return self.change(self.base.image(index), self.keys[index])

    def mark(self, index: int) -> bytes:
        return self.base.mark(index)


class SubsetSource(_Derived):
    """Some of another source's images, in the order of `indices`."""

    def __init__(self, base: ImageSource, indices: Sequence[int]) -> None:
        self.base = base
        self.indices = list(indices)
        self.classes = base.classes
        self.keys = [base.keys[i] for i in self.indices]
        self.labels = base.labels[np.asarray(self.indices, dtype=np.int64)]
        self.members = base.members
        self.blocks = None if base.blocks is None else _blocks_of(base.blocks, self.indices)
        if base.captions is not None:
            self.captions = [base.captions[i] for i in self.indices]
        self.warnings = base.warnings

    def image(self, index: int) -> Image.Image:
        return self.base.image(self.indices[index])

    def mark(self, index: int) -> bytes:
        return self.base.mark(self.indices[index])


def _blocks_of(blocks: Blocks, indices: Sequence[int]) -> Blocks | None:
    """The blocks of a subset; None when its order does not follow them."""
    if any(a >= b for a, b in pairwise(indices)):
        return None
    ranges, start = [], 0
    for block in blocks.ranges:
        stop = bisect_left(indices, block.stop, lo=start)
        if stop > start:
            ranges.append(range(start, stop))
        start = stop
    return Blocks(tuple(ranges), blocks.window)
