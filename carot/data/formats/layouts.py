"""Which file of an archive is which image: class folders, split folders, or a CSV file."""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carot.data.decoding.images import SUFFIXES
from carot.data.formats.csv_table import LABEL_COLUMNS, PATH_COLUMNS
from carot.data.formats.members import Members
from carot.data.splits import SPLITS
from carot.errors import DataError
from carot.warnings import CodedWarning


@dataclass(frozen=True, order=True)
class Planned:
    """One image: where it goes, where it comes from, and what it shows."""

    target: str
    member: str
    class_name: str
    split: str | None


@dataclass(frozen=True)
class Plan:
    """Every image of an archive in the order of its bundle.

    Attributes:
        images: sorted by target.
        classes: the class names that the layout declares.
        split_folders: the splits that are named; empty when images are dealt out by hash.
        missing: "name: reason" of images that a CSV names but the archive does not hold.
        warnings: for the person who uploaded it.
    """

    images: Sequence[Planned]
    classes: frozenset[str]
    split_folders: frozenset[str]
    missing: Sequence[str] = ()
    warnings: Sequence[CodedWarning] = ()


def plan_layout(members: Members) -> Plan:
    """Recognise the layout of an archive, with or without a single folder around it.

    Raises:
        DataError: no images, an image outside of the class folders, a class folder without
            images, split folders mixed with others, a CSV without labels.
    """
    pictures = [name for name in members.sizes if _is_image(name)]
    if not pictures:
        raise DataError(
            "the archive has no images; their names end in " + ", ".join(sorted(SUFFIXES)),
            field="file",
        )
    top = _top_folder(members)
    table = _table(members, top)
    return _plan_csv(members, table, pictures) if table else _plan_folders(members, pictures, top)


def _is_image(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in SUFFIXES


def _top_folder(members: Members) -> str:
    """The one folder around everything, with its slash, or "" when there is none."""
    firsts = {name.partition("/")[0] for name in (*members.sizes, *members.folders)}
    if len(firsts) != 1 or any("/" not in name for name in members.sizes):
        return ""
    (top,) = firsts
    if top in SPLITS or all(name.count("/") < 2 and _is_image(name) for name in members.sizes):
        return ""  # only one split, or only one class
    return f"{top}/"


# Class folders -------------------------------------------------------------------------------


def _plan_folders(members: Members, pictures: Iterable[str], top: str) -> Plan:
    folders = {name.removeprefix(top) for name in members.folders if name.startswith(top)}
    firsts = {name for name in folders if "/" not in name and name}
    splits = firsts & set(SPLITS)
    if splits and splits != firsts:
        raise DataError(
            f"folders {', '.join(sorted(firsts - splits)[:10])} stand beside "
            f"{', '.join(sorted(splits))}; the folders of splits are {', '.join(SPLITS)}",
            field="file",
        )
    depth = 2 if splits else 1
    images, with_images = [], set()
    for member in pictures:
        parts = member.removeprefix(top).split("/")
        if len(parts) <= depth:
            raise DataError(
                f"{member}: not in a class folder; images lie at class/name.png or "
                "train/class/name.png",
                field="file",
            )
        with_images.add("/".join(parts[:depth]))
        split = parts[0] if splits else None
        images.append(Planned("/".join(parts), member, parts[depth - 1], split))
    for folder in sorted(f for f in folders if f.count("/") == depth - 1):
        if folder not in with_images:
            raise DataError(f"class folder {folder!r} has no images", field="file")
    classes = frozenset(image.class_name for image in images)
    return Plan(sorted(images), classes, frozenset(splits))


# CSV -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    name: str
    rows: list[dict[str, str]]
    path_column: str
    label_column: str
    has_split: bool


def _table(members: Members, top: str) -> _Table | None:
    """The archive's CSV file, if one at its root names image files."""
    found = []
    for name in sorted(members.sizes):
        inner = name.removeprefix(top)
        if "/" not in inner and inner.lower().endswith((".csv", ".tsv")):
            table = _parse(name, members.read(name))
            if table is not None:
                found.append(table)
    if len(found) > 1:
        names = ", ".join(table.name for table in found)
        raise DataError(
            f"more than one CSV file ({names}); give one, with a `split` column", field="file"
        )
    return found[0] if found else None


def _parse(name: str, content: bytes) -> _Table | None:
    try:
        text = content.decode("utf-8-sig")
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
        reader = csv.DictReader(text.splitlines(), delimiter=delimiter, restkey="", restval="")
        header = list(reader.fieldnames or [])
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: not a CSV file in UTF-8 ({error})", field="file") from error
    path_column = next((c for c in PATH_COLUMNS if c in header), None)
    if path_column is None:
        return None
    label_column = next((c for c in LABEL_COLUMNS if c in header), None)
    if label_column is None:
        raise DataError(
            f"{name}: labels are missing: no column named {' or '.join(LABEL_COLUMNS)}; "
            f"it has {', '.join(header)}",
            field="file",
        )
    return _Table(name, rows, path_column, label_column, "split" in header)


def _plan_csv(members: Members, table: _Table, pictures: Iterable[str]) -> Plan:
    folder = posixpath.dirname(table.name)
    planned: dict[str, Planned] = {}
    missing: list[str] = []
    classes: set[str] = set()
    for line, row in enumerate(table.rows, start=2):
        where = f"{table.name}, line {line}"
        named = row[table.path_column].strip()
        label = _class_name(row[table.label_column].strip(), where)
        split = _split(row["split"].strip(), where) if table.has_split else None
        if not named:
            raise DataError(f"{where}: no {table.path_column}", field="file")
        classes.add(label)
        member = posixpath.normpath(posixpath.join(folder, named))
        if member not in members.sizes:
            missing.append(f"{named}: named in {table.name} but not in the archive")
            continue
        relative = posixpath.relpath(member, folder or ".")
        if relative.startswith("../"):
            missing.append(f"{named}: outside of the folder of {table.name}")
            continue
        target = "/".join(part for part in (split, label, relative) if part)
        image = Planned(target, member, label, split)
        if planned.setdefault(member, image) != image:
            raise DataError(f"{where}: {named} has another label above", field="file")
    unnamed = len(set(pictures) - planned.keys())
    warnings = []
    if unnamed:
        message = f"{unnamed} images that {table.name} does not name were left out"
        warnings.append(CodedWarning(code="images_left_out", message=message))
    splits = frozenset(image.split for image in planned.values() if image.split)
    return Plan(sorted(planned.values()), frozenset(classes), splits, missing, warnings)


def _class_name(label: str, where: str) -> str:
    if not label:
        raise DataError(f"{where}: the label is missing", field="file")
    bad = "/" in label or label.startswith(".") or label in SPLITS or not label.isprintable()
    if bad or len(label.encode()) > 200:
        raise DataError(
            f"{where}: {label[:80]!a} cannot be a class name: no slash, no control "
            "characters, not starting with a dot, no split's name, at most 200 bytes",
            field="file",
        )
    return label


def _split(name: str, where: str) -> str:
    if name not in SPLITS:
        raise DataError(
            f"{where}: split {name[:80]!r} is none of {', '.join(SPLITS)}", field="file"
        )
    return name
