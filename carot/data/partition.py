"""Which images are in which split, and what the classes are: the same for every kind of files."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from carot.data.dealing import deal, halve
from carot.data.labels import in_order
from carot.data.splits import SPLITS
from carot.errors import DataError

Label = int | str
NAMES_IN_MESSAGE = 10


class Labelled(Protocol):
    """One image before it is opened."""

    @property
    def key(self) -> str:
        """Its name, unique in a split."""

    @property
    def label(self) -> Label:
        """The name of its class, or a number of at least 0."""

    def digest(self) -> bytes:
        """A SHA-256 that deals it out to a split: of its content where that is cheap to read."""


Item = TypeVar("Item", bound=Labelled)


@dataclass(frozen=True)
class Arranged(Generic[Item]):
    """The N images of one split, and the C classes of the whole data set.

    Attributes:
        labels_N: positions in `classes`, int64.
        dealt: whether no split was named, so that images were dealt out by their digests.
    """

    items: list[Item]
    classes: tuple[str, ...]
    labels_N: NDArray[np.int64]
    dealt: bool = False


def arrange(
    groups: Mapping[str | None, Sequence[Item]],
    split: str,
    where: str,
    names: Sequence[str] | None = None,
) -> Arranged[Item]:
    """The images of one split.

    Where splits are named, a calibration split that is missing is half of validation, by digest
    (`carot.data.dealing.halve`). Where none is, the images are dealt out by digest
    (`carot.data.dealing.deal`). Classes are
    the labels of the training split (of the first there is, or of all images, where there is
    none), in the order of `carot.data.labels.in_order`. So every split has the same list.

    Args:
        groups: by split; None for images without one, which then is the only group.
        where: what to call the data set in an error.
        names: with these, labels are positions in them.

    Raises:
        DataError: no images, fewer than two classes, a split with a class that training lacks, a
            label beyond `names`, a class name with control characters.
    """
    named = {name: groups[name] for name in SPLITS if name in groups}
    reference = "train" if "train" in named else next(iter(named), None)
    if names is not None:
        _check_within(groups, names, where)
        classes: Sequence[Label] = range(len(names))
    else:
        classes = _distinct(groups.get(reference, ()), reference or where)
        _check_same_classes(named, reference, classes)
    shown = _checked(classes if names is None else names, reference or where)
    if named:
        chosen = _choose(named, split)
    else:
        everything = groups.get(None, ())
        dealt = deal([item.digest() for item in everything], [item.label for item in everything])
        chosen = [item for item, its in zip(everything, dealt, strict=True) if its == split]
    index = {label: i for i, label in enumerate(classes)}
    labels_N = np.array([index[item.label] for item in chosen], dtype=np.int64)
    return Arranged(chosen, shown, labels_N, dealt=not named)


def _distinct(items: Sequence[Item], where: str) -> list[Label]:
    labels = {item.label for item in items}
    if not labels:
        raise DataError(f"{where}: no images of any class", field="dataset")
    if len(labels) < 2:
        raise DataError(
            f"{where}: only one class ({str(*labels)!r}); a classifier needs two or more",
            field="dataset",
        )
    if all(isinstance(label, int) for label in labels):
        return sorted(labels)
    return list(in_order(map(str, labels)))


def _checked(classes: Sequence[Label], where: str) -> tuple[str, ...]:
    """The names of the classes, fit to be told apart and to be shown."""
    names = tuple(map(str, classes))
    if len(names) < 2:
        raise DataError(f"{where}: fewer than two class names", field="dataset")
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(
            f"{where}: two classes have one name: {', '.join(twice[:NAMES_IN_MESSAGE])}",
            field="dataset",
        )
    for name in names:
        if not name or any(unicodedata.category(c) == "Cc" for c in name):
            raise DataError(f"{where}: {name[:80]!a} cannot be a class name", field="dataset")
    return names


def _check_same_classes(
    by_split: Mapping[str, Sequence[Item]], reference: str | None, classes: Sequence[Label]
) -> None:
    known = set(classes)
    for name, items in by_split.items():
        unknown = sorted({str(item.label) for item in items if item.label not in known})
        if unknown:
            raise DataError(
                f"{name}/ has classes that {reference}/ does not: "
                f"{', '.join(unknown[:NAMES_IN_MESSAGE])}",
                field="dataset",
            )


def _check_within(
    groups: Mapping[str | None, Sequence[Item]], names: Sequence[str], where: str
) -> None:
    for items in groups.values():
        for item in items:
            if not isinstance(item.label, int) or item.label >= len(names):
                raise DataError(
                    f"{where}: {item.key} has the label {item.label}, but there are "
                    f"{len(names)} class names, counted from 0",
                    field="dataset",
                )


def _choose(by_split: Mapping[str, Sequence[Item]], split: str) -> list[Item]:
    if split in by_split and (split != "validation" or "calibration" in by_split):
        return list(by_split[split])
    if split in ("validation", "calibration") and "validation" in by_split:
        both = by_split["validation"]
        halves = halve([item.digest() for item in both], [item.label for item in both])
        return [item for item, its in zip(both, halves, strict=True) if its == split]
    return []
