"""Images of which nobody knows the class: a folder of them, at any depth."""

from __future__ import annotations

import os
from pathlib import Path

from carot.data.decoding.images import SUFFIXES
from carot.data.formats.class_folders import ListedSource
from carot.errors import DataError

UNKNOWN = -1
"""The label of an image without one."""


def open_unlabelled(root: Path) -> ListedSource:
    """Every image beneath `root`, sorted by path; no classes, and `UNKNOWN` for labels.

    Links to folders are not followed, hidden files and folders are left out.

    Raises:
        DataError: no such folder, or no images in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder", field="dataset")
    keys = []
    for folder, inside, files in os.walk(root):
        inside[:] = [name for name in inside if not name.startswith(".")]
        prefix = Path(folder).relative_to(root)
        keys += [(prefix / name).as_posix() for name in files if _is_image(name)]
    if not keys:
        raise DataError(f"{root} has no images", field="dataset")
    return ListedSource(root, sorted(keys), [UNKNOWN] * len(keys), ())


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
