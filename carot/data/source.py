"""The one shape that every data set has once it is opened: keys, labels and images by index."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class ImageSource(ABC):
    """N labelled images of C classes.

    Attributes:
        classes: C class names; a label is an index into them.
        keys: N stable names, unique in the source (a relative path, a content hash). They seed
            everything that is drawn per image, so that a shift is the same in every run.
        labels: N class indices, int64.
        members: for each class, the names of the classifier's classes that it stands for; None
            where each stands for the one of its own name.
    """

    classes: tuple[str, ...]
    keys: Sequence[str]
    labels: NDArray[np.int64]
    members: tuple[tuple[str, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @abstractmethod
    def image(self, index: int) -> Image.Image:
        """The image at `index` as RGB.

        Raises:
            UnreadableImage: it cannot be decoded, or is larger than the project accepts.
        """


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


class ShiftedSource(ImageSource):
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

    def image(self, index: int) -> Image.Image:
        return self.change(self.base.image(index), self.keys[index])


class SubsetSource(ImageSource):
    """Some of another source's images, in the order of `indices`."""

    def __init__(self, base: ImageSource, indices: Sequence[int]) -> None:
        self.base = base
        self.indices = list(indices)
        self.classes = base.classes
        self.keys = [base.keys[i] for i in self.indices]
        self.labels = base.labels[np.asarray(self.indices, dtype=np.int64)]
        self.members = base.members

    def image(self, index: int) -> Image.Image:
        return self.base.image(self.indices[index])
