"""Which file of an archive or a folder is which image: class folders, split folders, or tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carot.data.decoding.images import FORMATS
from carot.data.formats.folder_layout import class_folders, top_folder
from carot.data.formats.listing import Files, Listing, look
from carot.data.tables.named_images import named_images
from carot.data.tables.places import Places
from carot.errors import DataError
from carot.warnings import CodedWarning


@dataclass(frozen=True, order=True)
class Planned:
    """One image: where it goes in a bundle, where it comes from, and what it shows."""

    target: str
    member: str
    class_name: str
    split: str | None
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Every image in the order of its bundle.

    Attributes:
        images: sorted by target.
        classes: the class names that the layout declares.
        split_folders: the splits that are named; empty when images are dealt out by hash.
        missing: "name: reason" of images that a table names but nobody has.
        warnings: for the person who brought it.
    """

    images: Sequence[Planned]
    classes: frozenset[str]
    split_folders: frozenset[str]
    missing: Sequence[str] = ()
    warnings: Sequence[CodedWarning] = ()


PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""Endings of archives: one within a folder or another archive is not opened."""


def plan_layout(files: Files) -> Plan:
    """Recognise a layout, with or without a single folder around it.

    Where there are tables, they say which images there are; otherwise folders do.

    Raises:
        DataError: no images, a table that is not understood, an image outside of the class
            folders, class folders one level deeper, a class folder without images, split folders
            beside others, parts or folds in place of classes.
    """
    listing = look(files)
    if not listing.images:
        raise _no_images(listing)
    plan = _plan_tables if listing.tables else _plan_folders
    return plan(files.folders, listing)


def _no_images(listing: Listing) -> DataError:
    message = f"there are no images; they are {', '.join(FORMATS)}"
    if any(ending in PACKED for ending in listing.left_out):
        message += "; archives inside are not opened: unpack them"
    return DataError(message, field="dataset")


def _plan_folders(folders: set[str], listing: Listing) -> Plan:
    found = class_folders(folders, listing.images)
    images = [
        Planned("/".join(filter(None, (each.split, each.class_name, each.rest))), each.file,
                each.class_name, each.split)
        for each in found.images
    ]  # fmt: skip
    return _plan(images, {each.class_name for each in images}, found.warnings, listing)


def _plan_tables(folders: set[str], listing: Listing) -> Plan:
    names = [*listing.images, *(table.name for table in listing.tables)]
    top = top_folder(folders, names)
    found = named_images(listing.tables, Places(listing.images).find, top)
    images = [
        Planned(
            "/".join(filter(None, (each.split, _folder(each.label), each.file.removeprefix(top)))),
            each.file, each.label, each.split, each.captions,
        )
        for each in found.images
    ]  # fmt: skip
    warnings = list(found.warnings)
    unnamed = len(set(listing.images) - {image.member for image in images} - found.unlabelled)
    if unnamed:
        tables = " and ".join(table.name for table in listing.tables[:3])
        message = f"{unnamed} images that {tables} does not name were left out"
        warnings.append(CodedWarning(code="images_left_out", message=message))
    return _plan(images, found.labels, warnings, listing, found.missing)


def _plan(
    images: Iterable[Planned],
    classes: Iterable[str],
    warnings: Iterable[CodedWarning],
    listing: Listing,
    missing: Sequence[str] = (),
) -> Plan:
    planned = sorted(images)
    splits = frozenset(image.split for image in planned if image.split is not None)
    said = (*warnings, *listing.warnings())
    return Plan(planned, frozenset(classes), splits, missing, said)


def _folder(label: str) -> str:
    """A folder for the images of a class, whatever its name: the bundle's index has the name."""
    plain = label.replace("/", "_").replace("\\", "_")
    return f"_{plain}" if plain.startswith(".") else plain
