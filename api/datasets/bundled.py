"""The data sets that need no upload, and what a data set holds. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from carot.data import fashion
from carot.data.splits import SPLITS

DIGITS = "builtin:digits"


@dataclass(frozen=True)
class Contents:
    """What a data set holds, as far as a check needs it; empty where only the run looks at it."""

    classes: tuple[str, ...]
    images: dict[str, int]

    def lacks(self, split: str) -> bool:
        """Whether it is known that a split has no images."""
        return bool(self.images) and not self.images.get(split)


@cache
def bundled_digits() -> Contents:
    """What `builtin:digits` holds."""
    # Imported late: it brings scikit-learn, which no other request needs.
    from carot.data.digits import handwritten_digits

    sources = {split: handwritten_digits(split) for split in SPLITS}
    return Contents(
        tuple(sources["test"].classes), {split: len(source) for split, source in sources.items()}
    )


def bundled_fashion() -> Contents:
    """What `fashion:` holds, where the package is installed."""
    images = {split: len(chosen) for split, (_, chosen) in fashion.SPLITS.items()}
    return Contents(fashion.CLASSES, images)
