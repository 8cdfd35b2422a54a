"""Images in class folders of which only the names are kept: for large sets on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from carot.data.decoding.images import SUFFIXES
from carot.data.formats.listing import is_bookkeeping
from carot.data.source import EncodedSource
from carot.errors import DataError


class ListedSource(EncodedSource):
    """Images in files below one root, decoded when asked for; a key is the path below the root.

    Their splits are published, so that nobody looks for images that are in two of them.

    With 1.28 million images, one string each is what is affordable.
    """

    may_share_images = False

    def __init__(
        self,
        root: Path,
        keys: Sequence[str],
        labels: Sequence[int],
        classes: Sequence[str],
        members: Sequence[Sequence[str]] | None = None,
    ) -> None:
        self.root = root
        self.keys = list(keys)
        self.labels = np.array(labels, dtype=np.int64)
        self.classes = tuple(classes)
        self.members = None if members is None else tuple(map(tuple, members))

    def content(self, index: int) -> Path:
        return self.root / self.keys[index]

    def mark(self, index: int) -> bytes:
        return b""  # a look at each of a million files takes minutes on a network disk


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, hidden ones left out.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder", field="dataset")
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not is_bookkeeping(e.name) and e.is_dir()]
    return [folder / name for name in sorted(names)]


def unpacked(root: Path, is_right: Callable[[str], bool], sought: str) -> Path:
    """`root`, or the one folder in it, whichever holds a folder whose name `is_right`.

    Archives often unpack into a folder of their own.

    Args:
        sought: what the right folders are called, for the message.

    Raises:
        DataError: neither does.
    """
    inside = subfolders(root)
    for folder in (root, *inside[:1]) if len(inside) == 1 else (root,):
        if any(is_right(each.name) for each in subfolders(folder)):
            return folder
    raise DataError(f"{root}: no {sought} in it", field="dataset")


def list_images(root: Path, folders: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """Keys of the images directly in each class's folder, sorted, and each one's class.

    Raises:
        DataError: a class has no images.
    """
    keys: list[str] = []
    classes: list[str] = []
    for name, folder in folders.items():
        with os.scandir(folder) as entries:
            # By name alone: a look at each of a million files takes minutes on a network disk.
            files = sorted(e.name for e in entries if _is_image(e.name))
        if not files:
            raise DataError(f"{folder} has no images", field="dataset")
        prefix = folder.relative_to(root).as_posix()
        keys += [f"{prefix}/{file}" for file in files]
        classes += [name] * len(files)
    return keys, classes


def _is_image(name: str) -> bool:
    return not is_bookkeeping(name) and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122
