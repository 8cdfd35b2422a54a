"""Images of which nobody knows the class: a folder of them, at any depth."""

from __future__ import annotations

from pathlib import Path

from carot.data.formats.class_folders import ListedSource
from carot.data.formats.listing import DiskFiles, left_out, look_for_images
from carot.errors import DataError

UNKNOWN = -1
"""The label of an image without one."""


def open_unlabelled(root: Path) -> ListedSource:
    """Every image beneath `root`, sorted by path; no classes, and `UNKNOWN` for labels.

    Hidden files and folders, and those that systems make for themselves, are left out. What an
    image is, its first bytes say where its name does not.

    Raises:
        DataError: no such folder, or no images in it.
    """
    files = DiskFiles(root)
    keys = look_for_images(files)
    if not keys:
        raise DataError(f"{root} has no images", field="dataset")
    source = ListedSource(root, keys, [UNKNOWN] * len(keys), ())
    source.warnings = tuple(left_out(files, keys))
    return source
