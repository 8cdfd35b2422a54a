"""Images on disk, as `class/name.png`, `split/class/name.png`, or named by a CSV file."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from carot.data.decoding.images import SUFFIXES, decode_image
from carot.data.partition import Arranged, arrange
from carot.data.source import ImageSource
from carot.data.splits import SPLITS
from carot.errors import DataError

PATH_COLUMNS = ("filepath", "path", "image")
LABEL_COLUMNS = ("label", "title", "class")


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


class FileSource(ImageSource):
    """Images in files, decoded when asked for."""

    def __init__(self, arranged: Arranged[Item]) -> None:
        self.items = arranged.items
        self.classes = arranged.classes
        self.keys = [item.key for item in self.items]
        self.labels = arranged.labels_N

    def image(self, index: int) -> Image.Image:
        item = self.items[index]
        return decode_image(item.path, item.key)


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


def open_csv(path: Path, split: str) -> FileSource:
    """The images that a CSV file names, in open_clip's convention.

    Columns: `filepath` (relative to the file's folder), `title` or `label` (the class), and
    optionally `split`. Without a split column the images are dealt out by content hash.

    Raises:
        DataError: no such file, a column is missing, a row has no label, fewer than two classes.
    """
    return FileSource(arrange(read_csv(path), split, path.name))


def read_csv(path: Path) -> dict[str | None, list[Item]]:
    """What the rows of a CSV file name, by split; None without a split column.

    Raises:
        DataError: as for `open_csv`.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file", field="dataset")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            text = file.read()
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
        reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
        header, rows = list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path.name}: not a CSV file in UTF-8 ({error})", field="dataset"
        ) from error
    path_column = _column(header, PATH_COLUMNS, path)
    label_column = _column(header, LABEL_COLUMNS, path)
    has_split = "split" in header
    groups: dict[str | None, list[Item]] = {}
    for number, row in enumerate(rows, start=2):
        name, label = (row[path_column] or "").strip(), (row[label_column] or "").strip()
        if not name or not label:
            raise DataError(
                f"{path.name}, line {number}: no {path_column if not name else label_column}",
                field="dataset",
            )
        row_split = (row["split"] or "").strip() if has_split else None
        if row_split is not None and row_split not in SPLITS:
            raise DataError(
                f"{path.name}, line {number}: split {row_split!r} is none of {', '.join(SPLITS)}",
                field="dataset",
            )
        groups.setdefault(row_split, []).append(Item(name, path.parent / name, label))
    return groups


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


def _column(header: Sequence[str], names: Sequence[str], path: Path) -> str:
    for name in names:
        if name in header:
            return name
    raise DataError(
        f"{path.name}: no column named {' or '.join(names)}; it has {', '.join(header) or 'none'}",
        field="dataset",
    )
