"""Files of the server that a job may name: beneath one folder only, wherever links lead.

API and worker check alike, the API so that a wrong path is refused at once, the worker because its
root is another one and files may have changed. What lies beneath the root is the operator's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from carot.data.formats.csv_table import read_csv
from carot.data.formats.files import corruption_folders, expand
from carot.data.formats.shards import CLASS_NAMES
from carot.errors import DataError
from carot.specs.base import FASHION, PATH_SCHEMES, UNLABELLED
from store.errors import NotBeneathRoot


def is_path(reference: str) -> bool:
    """Whether a data set reference names files of an operator's, by a path."""
    scheme, colon, _ = reference.partition(":")
    return bool(colon) and reference != FASHION and scheme in (*PATH_SCHEMES, UNLABELLED)


def beneath(root: Path | None, relative: str) -> Path:
    """The file or folder at a path relative to `root`.

    Raises:
        NotBeneathRoot: there is no root; the path is absolute, climbs, or leads out of the root by
            a link; nothing is there. The message says nothing of what lies elsewhere.
    """
    if root is None:
        raise NotBeneathRoot(
            "files of this server cannot be named, as it has no data set root "
            "(CAROT_DATASET_ROOT); upload them with POST /datasets"
        )
    if not relative or relative.startswith("/") or ".." in relative.split("/"):
        raise NotBeneathRoot("a path is relative to the server's data set root, without `..`")
    root = root.resolve()
    path = root / relative
    if not _leads_to(path, root):
        raise NotBeneathRoot("no such file or folder beneath the server's data set root")
    return path


def named_files(root: Path | None, reference: str) -> list[Path]:
    """The folder or the files that a reference names, with its path relative to `root`.

    Raises:
        NotBeneathRoot: as for `beneath`, or a pattern that names no files.
    """
    scheme, _, relative = reference.partition(":")
    if scheme == "imagenet-c" and root is not None and relative:
        relative = _corruption(root, relative)
    is_pattern = scheme in ("webdataset", "parquet") and not _is_there(root, relative)
    try:
        names = expand(relative) if is_pattern else [relative]
    except DataError as error:
        raise NotBeneathRoot(error.message) from error
    return [beneath(root, name) for name in names]


def check_contents(root: Path | None, reference: str) -> None:
    """Refuse a data set of which a part leads out of `root`. Looks at every file's name.

    Raises:
        NotBeneathRoot: as for `named_files`, or such a part.
        DataError: a CSV file that cannot be read.
    """
    scheme = reference.partition(":")[0]
    for path in named_files(root, reference):
        assert root is not None, "named_files says so"
        try:
            for part in _links(path) if path.is_dir() else _named_by(path, scheme):
                if not _leads_to(part, root.resolve(), strict=False):
                    raise NotBeneathRoot(f"{part.name} leads out of the server's data set root")
        except OSError as error:
            raise NotBeneathRoot(f"{path.name} cannot be read: {error.strerror}") from error


def _is_there(root: Path | None, relative: str) -> bool:
    """Whether a file has this very name: then it is the one that is opened, braces or not."""
    return root is not None and os.path.exists(root / relative)  # noqa: PTH110 (as below)


def _corruption(root: Path, relative: str) -> str:
    """Which folder `imagenet-c` opens; not yet that it lies beneath `root`."""
    for folder in corruption_folders(Path(relative)):
        if os.path.isdir(root / folder):  # noqa: PTH112 (False also for names that none can have)
            return str(folder)
    return relative


def _leads_to(path: Path, root: Path, *, strict: bool = True) -> bool:
    try:
        return path.resolve(strict=strict).is_relative_to(root)
    except (OSError, ValueError, RuntimeError):  # missing, null characters, circles of links
        return False


def _named_by(path: Path, scheme: str) -> Iterator[Path]:
    """What is read besides a file itself."""
    if scheme == "csv":
        yield from (path.parent / image.file for image in read_csv(path).images)
    elif scheme == "webdataset":
        yield from (path.parent / name for name in CLASS_NAMES)


def _links(folder: Path) -> Iterator[Path]:
    """Every link beneath a folder, and beneath the folders that those lead to."""
    waiting, seen = [folder], set()
    while waiting:
        current = waiting.pop()
        real = current.resolve()
        if real in seen:
            continue
        seen.add(real)
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                if entry.is_dir():
                    waiting.append(Path(entry.path))
