"""Which files or folders a path stands for: where images are many to a file, and in ImageNet-C."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from carot.data.formats.listing import is_bookkeeping
from carot.data.splits import split_named
from carot.errors import DataError

MAX_FILES = 10_000
NAMES_IN_MESSAGE = 10
CORRUPTION_GROUPS = ("noise", "blur", "weather", "digital", "extra")
_RANGE = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")


@dataclass(frozen=True)
class DataFile:
    """One file, at one point of its life.

    Attributes:
        name: its path beneath the data set, with slashes.
        split: the one that its name or its folder says.
        size: in bytes.
        modified: time of its last change, in nanoseconds.
    """

    path: Path
    name: str
    split: str | None
    size: int
    modified: int


def find_files(path: Path, suffixes: tuple[str, ...]) -> list[DataFile]:
    """The files of a data set, by name.

    Args:
        path: a folder, searched at any depth; one file, whatever its name; or a path with numeric
            ranges in braces, as `expand` takes it.
        suffixes: what names end in, in a folder; in lower case.

    Raises:
        DataError: there is none, one that a range names is missing, or some are named after
            splits and others are not.
    """
    try:
        found = _found(path, suffixes)
        files = [_data_file(file, relative) for file, relative in found]
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file", field="dataset") from error
    except (OSError, ValueError) as error:  # no right to read it, null characters
        raise DataError(f"{path.name[:100]!r} cannot be read: {error}", field="dataset") from error
    files.sort(key=lambda file: file.name)
    _check_splits(files, path)
    return files


def expand(pattern: str) -> list[str]:
    """The names that a pattern such as `train-{0000..0099}.tar` stands for, in order.

    Several ranges are every combination of them, the last one fastest. Numbers are as wide as in
    the pattern.

    Raises:
        DataError: a range runs backwards, names too many files, or braces hold something else.
    """
    ranges = []
    total = 1
    for first, last in _RANGE.findall(pattern):
        total *= int(last) - int(first) + 1
        if int(last) < int(first):
            raise DataError(f"{pattern}: {first}..{last} runs backwards", field="dataset")
        if total > MAX_FILES:
            raise DataError(f"{pattern}: more than {MAX_FILES} files", field="dataset")
        padded = (first, last) if "0" in (first[0], last[0]) else ("", "")
        width = max(map(len, padded))
        ranges.append([str(number).zfill(width) for number in range(int(first), int(last) + 1)])
    pieces = _RANGE.split(pattern)[::3]  # without the numbers
    if any(brace in piece for piece in pieces for brace in "{}"):
        raise DataError(
            f"{pattern}: braces hold ranges of numbers, such as {{0000..0099}}", field="dataset"
        )
    return [
        pieces[0]
        + "".join(number + piece for number, piece in zip(chosen, pieces[1:], strict=True))
        for chosen in product(*ranges)
    ]


def corruption_folders(path: Path) -> tuple[Path, ...]:
    """Where a corruption and severity of ImageNet-C may lie; what is there first is opened."""
    root, name, severity = path.parent.parent, path.parent.name, path.name
    return (path, *(root / group / name / severity for group in CORRUPTION_GROUPS))


def _found(path: Path, suffixes: tuple[str, ...]) -> list[tuple[Path, Path]]:
    """Each file with its path beneath the data set."""
    if path.is_dir():
        found = [(p, p.relative_to(path)) for p in path.rglob("*") if _is_wanted(p, path, suffixes)]
        if not found:
            raise DataError(f"{path}: no files named *{suffixes[0]}", field="dataset")
        return found
    if path.exists() or "{" not in str(path):
        return [(path, Path(path.name))]
    first = next(i for i, part in enumerate(path.parts) if "{" in part)
    paths = map(Path, expand(str(path)))
    return [(p, Path(*p.parts[first:])) for p in paths]


def _is_wanted(path: Path, root: Path, suffixes: tuple[str, ...]) -> bool:
    hidden = any(map(is_bookkeeping, path.relative_to(root).parts))
    return path.name.lower().endswith(suffixes) and not hidden and path.is_file()


def _data_file(path: Path, relative: Path) -> DataFile:
    status = path.stat()
    if not path.is_file():
        raise DataError(f"{path}: not a file", field="dataset")
    return DataFile(
        path, relative.as_posix(), _named_split(relative), status.st_size, status.st_mtime_ns
    )


def _named_split(relative: Path) -> str | None:
    """By a word of the file's name, or else by the innermost folder that is named after a split.

    Raises:
        DataError: a name has the words of two splits.
    """
    parts = (relative.name, *(folder.name for folder in relative.parents))
    return next((split for part in parts if (split := split_named(part)) is not None), None)


def _check_splits(files: list[DataFile], path: Path) -> None:
    without = [file.name for file in files if file.split is None]
    if without and len(without) < len(files):
        listed = ", ".join(without[:NAMES_IN_MESSAGE])
        raise DataError(
            f"{path.name}: some files are named after a split, but not {listed}", field="dataset"
        )
