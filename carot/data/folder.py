"""Images on disk, as `class/name.png`, `split/class/name.png`, or named by a CSV file."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from carot.data.images import SUFFIXES, decode_image
from carot.data.source import ImageSource
from carot.data.splits import SPLITS, split_of_digest
from carot.errors import DataError

PATH_COLUMNS = ("filepath", "path", "image")
LABEL_COLUMNS = ("label", "title", "class")


@dataclass(frozen=True)
class Item:
    """One image file: a key that is stable when the folder moves, and its class name."""

    key: str
    path: Path
    class_name: str


class FileSource(ImageSource):
    """Images in files, decoded when asked for."""

    def __init__(self, items: Sequence[Item], classes: Sequence[str]) -> None:
        index = {name: i for i, name in enumerate(classes)}
        self.items = list(items)
        self.classes = tuple(classes)
        self.keys = [item.key for item in self.items]
        self.labels = np.array([index[item.class_name] for item in self.items], dtype=np.int64)

    def image(self, index: int) -> Image.Image:
        item = self.items[index]
        return decode_image(item.path, item.key)


def open_folder(root: Path, split: str) -> FileSource:
    """The images of one split under `root`.

    With folders named after splits, those are the splits; a calibration split that is missing is
    taken out of validation by content hash (half of it). Without any, the images are dealt out by
    content hash (`carot.data.splits.SHARES`). Classes are the sorted class folders of the whole
    data set, so that every split has the same list.

    Raises:
        DataError: no such folder, no images, a class without images, fewer than two classes.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder", field="dataset")
    split_folders = [name for name in SPLITS if (root / name).is_dir()]
    if not split_folders:
        everything = _scan(root, root)
        classes = _classes(everything, root)
        return FileSource([i for i in everything if _hashed_split(i) == split], classes)
    by_split = {name: _scan(root / name, root) for name in split_folders}
    reference = "train" if "train" in by_split else split_folders[0]
    classes = _classes(by_split[reference], root / reference)
    _check_same_classes(by_split, reference, classes)
    return FileSource(_choose(by_split, split), classes)


def open_csv(path: Path, split: str) -> FileSource:
    """The images that a CSV file names, in open_clip's convention.

    Columns: `filepath` (relative to the file's folder), `title` or `label` (the class), and
    optionally `split`. Without a split column the images are dealt out by content hash.

    Raises:
        DataError: no such file, a column is missing, a row has no label, fewer than two classes.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file", field="dataset")
    with path.open(newline="", encoding="utf-8-sig") as file:
        text = file.read()
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
    header = reader.fieldnames or []
    path_column = _column(header, PATH_COLUMNS, path)
    label_column = _column(header, LABEL_COLUMNS, path)
    has_split = "split" in header
    items: list[Item] = []
    chosen: list[Item] = []
    for number, row in enumerate(reader, start=2):
        name, label = (row[path_column] or "").strip(), (row[label_column] or "").strip()
        if not name or not label:
            raise DataError(
                f"{path.name}, line {number}: no {path_column if not name else label_column}",
                field="dataset",
            )
        item = Item(name, path.parent / name, label)
        items.append(item)
        row_split = (row["split"] or "").strip() if has_split else _hashed_split(item)
        if row_split not in SPLITS:
            raise DataError(
                f"{path.name}, line {number}: split {row_split!r} is none of {', '.join(SPLITS)}",
                field="dataset",
            )
        if row_split == split:
            chosen.append(item)
    return FileSource(chosen, _classes(items, path))


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


def _classes(items: Sequence[Item], where: Path) -> list[str]:
    classes = sorted({item.class_name for item in items})
    if not classes:
        raise DataError(f"{where.name}: no images in class folders", field="dataset")
    if len(classes) < 2:
        raise DataError(
            f"{where.name}: only one class ({classes[0]!r}); a classifier needs two or more",
            field="dataset",
        )
    return classes


def _check_same_classes(
    by_split: dict[str, list[Item]], reference: str, classes: list[str]
) -> None:
    for name, items in by_split.items():
        unknown = sorted({item.class_name for item in items} - set(classes))
        if unknown:
            raise DataError(
                f"{name}/ has classes that {reference}/ does not: {', '.join(unknown[:10])}",
                field="dataset",
            )


def _choose(by_split: dict[str, list[Item]], split: str) -> list[Item]:
    if split in by_split and (split != "validation" or "calibration" in by_split):
        return by_split[split]
    if split in ("validation", "calibration") and "validation" in by_split:
        wanted = split == "validation"
        return [i for i in by_split["validation"] if _in_first_half(i) == wanted]
    return []


def _hashed_split(item: Item) -> str:
    return split_of_digest(_digest(item))


def _in_first_half(item: Item) -> bool:
    return _digest(item)[8] < 128


def _digest(item: Item) -> bytes:
    try:
        return hashlib.sha256(item.path.read_bytes()).digest()
    except OSError:
        # Named by a CSV but not there: it is counted as unreadable when it is read.
        return hashlib.sha256(item.key.encode()).digest()


def _column(header: Sequence[str], names: Sequence[str], path: Path) -> str:
    for name in names:
        if name in header:
            return name
    raise DataError(
        f"{path.name}: no column named {' or '.join(names)}; it has {', '.join(header) or 'none'}",
        field="dataset",
    )
