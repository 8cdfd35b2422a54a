"""What an upload's images show: copies across splits, depth, contrast, pictures that look alike."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carot.data.copies import Copies, FirstOfEach
from carot.data.decoding.deep_files import samples_of
from carot.data.decoding.depth import Depth, is_deep
from carot.data.decoding.images import FORMATS, check_size, has_contrast, to_rgb
from carot.data.decoding.orientation import upright
from carot.data.decoding.survey import DepthSurvey
from carot.data.near_copies import MOST_IMAGES, SIDE, NearCopies, NearCopy
from carot.warnings import CodedWarning

LISTED = 20
WHERE = "the upload"
DRAFT = (2 * SIDE, 2 * SIDE)
"""A JPEG is decoded at no less than this, which is quicker."""


class Inspection:
    """Told of every image, split by split in the order of `carot.data.splits.SPLITS`."""

    def __init__(self) -> None:
        self._first = FirstOfEach()
        self._survey = DepthSurvey()
        self._alike = NearCopies()
        self._flat: list[str] = []
        self._images = 0

    @property
    def copies(self) -> Copies:
        """Images of two named splits."""
        return self._first.copies

    def take(self, content: bytes, split: str | None, key: str) -> bool:
        """Look at an image that can be read; whether it is not a copy of an earlier split's.

        Args:
            split: as it is named; None where images are dealt out by content.
        """
        digest = hashlib.sha256(content).digest()
        if self._first.is_copy(digest, split, key):
            return False
        self._images += 1
        self._survey.take(content, key)
        image = _small(content)
        if image is None:
            return True  # torn further down than uploads are checked: counted where it is used
        if not has_contrast(image):
            self._flat.append(key)
        self._alike.add(key, _thumbnail(image))
        return True

    def depth(self) -> Depth:
        """What the numbers of deep images span."""
        return self._survey.depth()

    def near_copies(self, splits: Mapping[str, str]) -> list[NearCopy]:
        """Images that look like one of an earlier split.

        Args:
            splits: the split of each image, by key, whether it was named or dealt.
        """
        return self._alike.find(splits)

    def warnings(self, near: int) -> list[CodedWarning]:
        """What the sender should know.

        Args:
            near: how many near copies there are.
        """
        found = [*self.copies.warnings(WHERE), *self._survey.warnings(WHERE)]
        if self._flat:
            message = f"{len(self._flat)} of {self._images} images show one colour"
            names = tuple(self._flat[:LISTED])
            found.append(CodedWarning(code="no_contrast", message=message, names=names))
        if near:
            message = f"{near} images look like an image of an earlier split"
            found.append(CodedWarning(code="near_copies", message=message))
        if len(self._alike) > MOST_IMAGES:
            message = f"no near copies were looked for among more than {MOST_IMAGES:,} images"
            action = "Look for them yourself, or upload parts of it."
            found.append(CodedWarning(code="near_copies", message=message, action=action))
        return found


def _small(content: bytes) -> Image.Image | None:
    """An image as RGB, upright, smaller where its format allows for that; None for a torn one."""
    try:
        with (
            warnings.catch_warnings(),
            Image.open(io.BytesIO(content), formats=FORMATS) as image,
        ):
            warnings.simplefilter("ignore")
            check_size(image, "image")
            if is_deep(image):
                samples = samples_of(image, content)
                low, high = samples.extremes()
                return to_rgb(Image.fromarray(samples.eight_bits(Depth((low, high), (low, high)))))
            image.draft("RGB", DRAFT)
            image.load()
            return to_rgb(upright(image))
    # A decoder meets arbitrary bytes: whatever it raises means the same here.
    except Exception:  # noqa: BLE001
        return None


def _thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """Grey, squashed to `SIDE` x `SIDE`."""
    grows = image.width < 2 * SIDE or image.height < 2 * SIDE
    resampling = Image.Resampling.BILINEAR if grows else Image.Resampling.BOX
    return np.asarray(image.convert("L").resize((SIDE, SIDE), resampling))
