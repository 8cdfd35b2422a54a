"""Images on disk that a table names, with their classes: a reference `csv:PATH`."""

from __future__ import annotations

import os
import posixpath
from functools import cached_property
from pathlib import Path

from carot.data.formats.folder import FileSource, Groups, Item, left_out
from carot.data.formats.listing import DiskFiles, is_bookkeeping, look_for_images
from carot.data.partition import arrange
from carot.data.tables.named_images import FoundImages, named_images
from carot.data.tables.places import Places
from carot.data.tables.reader import read_table
from carot.errors import DataError


def open_csv(path: Path, split: str) -> FileSource:
    """The images of one split that a table names; see `carot.data.tables` for its columns.

    Images lie where the table says, relative to its folder, or anywhere beneath that where their
    name alone is enough. Without splits they are dealt out by content hash.

    Raises:
        DataError: no such file, a table that is not understood, fewer than two classes.
    """
    found = read_csv(path)
    groups: Groups = {}
    for image in found.images:
        item = Item(image.file, path.parent / image.file, image.label, image.captions)
        groups.setdefault(image.split, []).append(item)
    warnings = [*found.warnings, *left_out(found.missing, len(found.images), path.name)]
    return FileSource(arrange(groups, split, path.name), warnings)


def read_csv(path: Path) -> FoundImages:
    """The images that a table names, by their paths from its folder.

    Those that are nowhere are where the table says: they count as unreadable when they are read.

    Raises:
        DataError: as for `open_csv`.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file", field="dataset")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", field="dataset") from error
    table = read_table(path.name, content)
    if table is None:
        raise DataError(f"{path.name}: not a list of records", field="dataset")
    return named_images([table], _Beside(path.parent).find)


class _Beside:
    """The files in a table's folder, listed only where a name does not lead to one directly."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str, _: str) -> str | None:
        """The path from the folder, as the table says it where nothing else fits.

        None for what is hidden, or made by a system for itself: tables that are written by a
        program name that as well.
        """
        plain = name if os.path.isabs(name) else posixpath.normpath(name)  # noqa: PTH117
        if any(is_bookkeeping(part) for part in plain.split("/") if part != ".."):
            return None
        if os.path.isfile(self._folder / plain):  # noqa: PTH113 (False for what can be no name)
            return plain
        return self._places.find(name, "") or plain

    @cached_property
    def _places(self) -> Places:
        return Places(look_for_images(DiskFiles(self._folder)))
