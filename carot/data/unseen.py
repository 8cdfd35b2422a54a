"""Classes that a classifier is not to know: their images are left out, or are all that is kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from carot.data.source import ImageSource, SubsetSource
from carot.errors import SpecError

LISTED = 10
FIELD = "unseen"


class KnownSource(SubsetSource):
    """The images of some classes of another source, labelled by their place among those."""

    def __init__(self, base: ImageSource, kept: Sequence[int]) -> None:
        place = np.full(len(base.classes), -1, dtype=np.int64)
        place[list(kept)] = np.arange(len(kept))
        super().__init__(base, np.flatnonzero(place[base.labels] >= 0).tolist())
        self.labels = place[self.labels]
        self.classes = tuple(base.classes[c] for c in kept)
        if base.members is not None:
            self.members = tuple(base.members[c] for c in kept)


def known_classes(classes: Sequence[str], unseen: Collection[str]) -> tuple[str, ...]:
    """The classes without those that are to stay unseen, in order.

    Raises:
        SpecError: names that are no classes, or fewer than two classes are left; `field` is
            `unseen`.
    """
    unknown = sorted(set(unseen) - set(classes))
    if unknown:
        raise SpecError(
            f"no classes of the data set: {_listed(unknown)}; it has {_listed(classes)}",
            field=FIELD,
        )
    known = tuple(each for each in classes if each not in unseen)
    if unseen and len(known) < 2:
        raise SpecError(
            f"{len(known)} of {len(classes)} classes would be left; a classifier needs two or more",
            field=FIELD,
        )
    return known


def without_unseen(source: ImageSource, unseen: Collection[str]) -> ImageSource:
    """`source` without the classes named, or those that stand for one of them."""
    kept = [c for c, group in enumerate(_groups(source)) if not set(unseen) & set(group)]
    return source if len(kept) == len(source.classes) else KnownSource(source, kept)


def unseen_only(source: ImageSource, known: Collection[str]) -> KnownSource:
    """The images of `source` that are of none of the known classes; there may be none."""
    groups = _groups(source)
    return KnownSource(source, [c for c, group in enumerate(groups) if not set(known) & set(group)])


def _groups(source: ImageSource) -> Sequence[tuple[str, ...]]:
    """Of each class the names of a classifier's classes that it stands for."""
    return source.members or tuple((each,) for each in source.classes)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
