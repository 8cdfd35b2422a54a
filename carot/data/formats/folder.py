"""Images on disk, as `class/name.png` or `split/class/name.png`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from carot.data.decoding.images import SUFFIXES
from carot.data.partition import Arranged, arrange
from carot.data.source import EncodedSource
from carot.data.splits import SPLITS
from carot.errors import DataError


@dataclass(frozen=True)
class Item:
    """One image file: a key that is stable when the folder moves, and its class name."""

    key: str
    path: Path
    label: str

    def digest(self) -> bytes:
        """Of the content, so that equal images share a split."""
        try:
            return hashlib.sha256(self.path.read_bytes()).digest()
        except OSError:
            # Named by a CSV but not there: it is counted as unreadable when it is read.
            return hashlib.sha256(self.key.encode()).digest()


class FileSource(EncodedSource):
    """Images in files, decoded when asked for."""

    def __init__(self, arranged: Arranged[Item]) -> None:
        self.items = arranged.items
        self.classes = arranged.classes
        self.keys = [item.key for item in self.items]
        self.labels = arranged.labels_N
        self.may_share_images = not arranged.dealt

    def content(self, index: int) -> Path:
        return self.items[index].path


def open_folder(root: Path, split: str) -> FileSource:
    """The images of one split under `root`.

    With folders named after splits, those are the splits; without any, the images are dealt out
    by content hash; see `carot.data.partition.arrange`.

    Raises:
        DataError: no such folder, no images, a class without images, fewer than two classes.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder", field="dataset")
    split_folders = [name for name in SPLITS if (root / name).is_dir()]
    groups: dict[str | None, list[Item]] = {n: _scan(root / n, root) for n in split_folders}
    return FileSource(arrange(groups or {None: _scan(root, root)}, split, root.name))


def _scan(folder: Path, root: Path) -> list[Item]:
    items = []
    for class_folder in sorted(p for p in folder.iterdir() if p.is_dir()):
        if class_folder.name.startswith("."):
            continue
        files = sorted(
            p for p in class_folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()
        )
        if not files:
            raise DataError(
                f"class {class_folder.name!r} in {folder.name}/ has no images", field="dataset"
            )
        items += [Item(str(p.relative_to(root)), p, class_folder.name) for p in files]
    return items
