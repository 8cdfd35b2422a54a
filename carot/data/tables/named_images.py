"""The images of one or several tables together: each once, with its class, split and captions."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from carot.data.labels import check_class_name, check_no_captions
from carot.data.splits import split_named
from carot.data.tables.columns import NamedImage, understand
from carot.data.tables.reader import Table
from carot.errors import DataError
from carot.warnings import CodedWarning


@dataclass(frozen=True)
class FoundImage:
    """An image that a table names.

    Attributes:
        file: where it lies.
        name: what the table calls it.
        captions: what tables say of it besides its class.
    """

    file: str
    name: str
    label: str
    split: str | None
    captions: tuple[str, ...] = ()


@dataclass
class FoundImages:
    """What tables name, in their order.

    Attributes:
        missing: "name: reason" of images that are named but not there.
        labels: of all that are named, there or not.
        unlabelled: where those lie that are named without a label.
    """

    images: list[FoundImage] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    unlabelled: set[str | None] = field(default_factory=set)
    warnings: list[CodedWarning] = field(default_factory=list)


Find = Callable[[str, str], str | None]
"""(what a table calls an image, the table's folder) -> where it lies, None where it does not."""


def named_images(tables: Sequence[Table], find: Find, top: str = "") -> FoundImages:
    """What the tables name, found.

    A table's rows are of the split that a column says. Without one, of that which the innermost
    folder of the table says, or, where there are several tables, their names; otherwise of that
    which the folders of its images say, if each says one.

    Args:
        top: the folder around everything, which says nothing.

    Raises:
        DataError: a table that is not understood, captions in place of classes, an image with two
            labels or in two splits, or images of which only some have a split.
    """
    found = FoundImages()
    by_file: dict[str, FoundImage] = {}
    for table in tables:
        understood = understand(table)
        found.warnings += understood.warnings
        folder = posixpath.dirname(table.name)
        split = _split_of(table, top, several=len(tables) > 1)
        found.unlabelled.update(find(name, folder) for name in understood.unlabelled)
        for row in understood.images:
            if row.label not in found.labels:
                check_class_name(row.label, row.where)
                found.labels.add(row.label)
            file = find(row.name, folder)
            if file is None:
                found.missing.append(f"{row.name}: named in {table.name} but not there, or hidden")
            else:
                image = FoundImage(file, row.name, row.label, row.split or split)
                by_file[file] = _merged(by_file.get(file), image, row)
        where = f"{table.name}, {understood.label_column}"
        check_no_captions(
            [each.label for each in by_file.values()], where, "`label`, and captions in `title`"
        )
    found.images = _with_folders_splits(list(by_file.values()), top)
    _check_splits(found.images, [table.name for table in tables])
    return found


def _split_of(table: Table, top: str, *, several: bool) -> str | None:
    path = PurePosixPath(table.name.removeprefix(top))
    if several and (split := split_named(path.name)) is not None:
        return split
    splits = (split_named(folder.name) for folder in path.parents)
    return next((split for split in splits if split is not None), None)


def _merged(before: FoundImage | None, image: FoundImage, row: NamedImage) -> FoundImage:
    captions = () if before is None else before.captions
    if row.caption is not None and row.caption not in captions:
        captions = (*captions, row.caption)
    if before is not None and before.label != image.label:
        raise DataError(
            f"{row.where}: {row.name} has another label above ({before.label[:80]})",
            field="dataset",
        )
    if before is not None and before.split != image.split:
        raise DataError(
            f"{row.where}: {row.name} is in another split above ({before.split})", field="dataset"
        )
    return replace(image, captions=captions) if captions else image


def _with_folders_splits(images: list[FoundImage], top: str) -> list[FoundImage]:
    """With the splits of the images' folders, where nothing else says one and all folders do."""
    if any(image.split is not None for image in images):
        return images
    firsts = [image.file.removeprefix(top).rpartition("/")[0].partition("/")[0] for image in images]
    by_folder = {first: split_named(first) for first in set(firsts)}
    if None in by_folder.values() or len(set(by_folder.values())) < 2:
        return images
    return [
        replace(image, split=by_folder[first]) for image, first in zip(images, firsts, strict=True)
    ]


def _check_splits(images: Sequence[FoundImage], names: Sequence[str]) -> None:
    without = [image.name for image in images if image.split is None]
    if without and len(without) < len(images):
        raise DataError(
            f"{' and '.join(names[:5])}: {len(without)} images are in no split, such as "
            f"{without[0][:200]}, and others are; give each a `split`",
            field="dataset",
        )
