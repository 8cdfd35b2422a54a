"""Which images hold more than eight bits, and which of their numbers are black and white.

The rules, in this order; docs/images.md states them for users.

1. What a file says of itself: PNG's sBIT, TIFF's bits and its tags of least and greatest values.
2. What the set that a model was trained on spans (`Depth`), decided once for all of its images.
3. The full range of 16-bit integers; of other numbers the smallest usual range that holds them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import ImageFile

Kind = Literal["integers", "reals"]
Span = tuple[float, float]
"""The numbers that are black and white."""

SWAPPED = ";16B" if sys.byteorder == "little" else ";16L"
OTHER_ORDER = {";16B": ";16L", ";16L": ";16B", ";16N": SWAPPED}
"""Pillow's names of byte orders, and of the other one of each."""
GREY = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
"""Pillow's modes of one channel with more than eight bits."""
BITS = (8, 12, 16, 32)
INTEGERS: tuple[Span, ...] = tuple((0.0, 2.0**bits - 1) for bits in BITS)
"""What integers usually span."""
REALS: tuple[Span, ...] = ((0.0, 1.0), (-1.0, 1.0), *INTEGERS)
"""What numbers with a fraction usually span."""


@dataclass(frozen=True)
class Depth:
    """What the numbers of a data set's deep images span; None where it has none of a kind."""

    integers: Span | None = None
    reals: Span | None = None

    @classmethod
    def of(cls, document: Mapping[str, Sequence[float] | None]) -> Depth:
        """From JSON; a kind that is missing is None."""
        found = {kind: (span[0], span[1]) for kind, span in document.items() if span}
        return cls(found.get("integers"), found.get("reals"))

    def filled_from(self, other: Depth) -> Depth:
        """This one, with another's spans where it has none."""
        return Depth(self.integers or other.integers, self.reals or other.reals)


UNKNOWN = Depth()
"""Of images of which no set is known."""


def span_of(kind: Kind, low: float, high: float) -> Span:
    """The smallest usual span that holds `low` to `high`, or just these."""
    usual = INTEGERS if kind == "integers" else REALS
    return next((span for span in usual if span[0] <= low and high <= span[1]), (low, high))


def whole_bits(greatest: float) -> Span:
    """Black and white of integers of just as many bits as `greatest` takes."""
    return 0.0, 2.0 ** math.ceil(math.log2(max(greatest, 1.0) + 1)) - 1


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an opened image holds more than eight bits; its pixels need not be decoded."""
    return image.mode in GREY or colour_mode(image) is not None


def colour_mode(image: ImageFile.ImageFile) -> str | None:
    """How Pillow would read colours of 16 bits; None where there are none that it can."""
    if image.mode not in ("RGB", "RGBA") or len(image.tile) == 0:
        return None
    found = image.tile[0].args
    raw = found if isinstance(found, str) else found[0] if isinstance(found, tuple) else None
    known = isinstance(raw, str) and raw[:-4] in ("RGB", "RGBA") and raw[-4:] in OTHER_ORDER
    return raw if known else None
