"""Images in files on this machine, as `class/name.png`, `split/class/name.png` or beside tables."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carot.data.formats.bundle_index import read_index
from carot.data.formats.layouts import plan_layout
from carot.data.formats.listing import DiskFiles
from carot.data.formats.members import Limits
from carot.data.partition import Arranged, arrange
from carot.data.source import EncodedSource
from carot.errors import DataError, TooManyUnreadable
from carot.warnings import CodedWarning

NAMES_IN_MESSAGE = 10


@dataclass(frozen=True)
class Item:
    """One image file: a key that is stable when the folder moves, and its class name.

    Attributes:
        captions: what is said of it besides its class.
    """

    key: str
    path: Path
    label: str
    captions: tuple[str, ...] = ()

    def digest(self) -> bytes:
        """Of the content, so that equal images share a split."""
        try:
            return hashlib.sha256(self.path.read_bytes()).digest()
        except OSError:
            # Named by a CSV but not there: it is counted as unreadable when it is read.
            return hashlib.sha256(self.key.encode("utf-8", "surrogateescape")).digest()


Groups = dict[str | None, list[Item]]
"""Images by split; None where no splits are named."""


class FileSource(EncodedSource):
    """Images in files, decoded when asked for."""

    def __init__(self, arranged: Arranged[Item], warnings: Sequence[CodedWarning] = ()) -> None:
        self.items = arranged.items
        self.classes = arranged.classes
        self.keys = [item.key for item in self.items]
        self.labels = arranged.labels_N
        self.may_share_images = not arranged.dealt
        self.warnings = tuple(warnings)
        if any(item.captions for item in self.items):
            self.captions = [item.captions for item in self.items]

    def content(self, index: int) -> Path:
        return self.items[index].path


def open_folder(root: Path, split: str) -> FileSource:
    """The images of one split under `root`: a bundle as its index says, or any folder as found.

    With folders named after splits, those are the splits; without any, the images are dealt out
    by content hash; see `carot.data.partition.arrange`. Tables in it come first; see
    `carot.data.formats.layouts`.

    Raises:
        DataError: no such folder, no images, a class without images, fewer than two classes, a
            layout or a table that is not understood.
    """
    entries = read_index(root)
    if entries is not None:
        groups: Groups = {}
        for entry in entries:
            item = Item(entry.file, root / entry.file, entry.label, entry.captions)
            groups.setdefault(entry.split, []).append(item)
        return FileSource(arrange(groups, split, root.name))
    plan = plan_layout(DiskFiles(root))
    groups = {}
    for image in plan.images:
        item = Item(image.member, root / image.member, image.class_name, image.captions)
        groups.setdefault(image.split, []).append(item)
    missing = left_out(plan.missing, len(plan.images), root.name)
    _check_all_have_images(plan.classes, groups)
    return FileSource(arrange(groups, split, root.name), [*plan.warnings, *missing])


def left_out(missing: Sequence[str], there: int, where: str) -> list[CodedWarning]:
    """The warning of images that a table names and that cannot be had.

    Raises:
        TooManyUnreadable: more than 1 % of all, as in an upload.
    """
    if not missing:
        return []
    listed = "; ".join(missing[:NAMES_IN_MESSAGE])
    total = len(missing) + there
    message = f"{where}: {len(missing)} of {total} images that are named cannot be had: {listed}"
    if len(missing) > Limits.unreadable_share * total:
        error = TooManyUnreadable(message, list(missing))
        error.field = "dataset"
        raise error
    return [CodedWarning(code="unreadable_image", message=message, names=tuple(missing[:100]))]


def _check_all_have_images(classes: frozenset[str], groups: Groups) -> None:
    present = Counter(item.label for items in groups.values() for item in items)
    for name in sorted(classes - present.keys()):
        raise DataError(f"class {name!r} has no images", field="dataset")
