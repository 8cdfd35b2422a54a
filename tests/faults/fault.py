"""A fault: a piece of the source, and what stands there when somebody gets it wrong."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

PRODUCT = ("api", "carot", "cli", "migrations", "store", "worker")
SUFFIXES = (".py", ".js")


class Lost(Exception):
    """A fault that cannot be planted, because its piece of source is not there exactly once."""


@dataclass(frozen=True)
class Fault:
    """One mistake, and the tests that ought to notice it.

    Attributes:
        subject: what part of the service it is about.
        old, new: what stands there, once in all sources, and what is put in its place.
        tests: files as `folder/name`, found anywhere beneath `tests/folder`; names that a file may
            have are parted by `|`. The file most likely to notice comes first.
        only: names of tests, as pytest's `-k` takes them, to be run before the others.
        file: name of the file, where the piece stands in several.
        otherwise: other pairs of old and new, for trees in which names differ.
    """

    name: str
    subject: str
    old: str
    new: str
    tests: tuple[str, ...]
    only: str = ""
    file: str = ""
    otherwise: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a fault goes in one tree: a file beneath its root, as it is and as it would be."""

    path: str
    before: str
    after: str


class Sources:
    """The product's sources of a tree, by their path beneath its root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.texts = {
            path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
            for folder in PRODUCT
            for path in sorted((root / folder).rglob("*"))
            if path.suffix in SUFFIXES and "__pycache__" not in path.parts
        }

    def place(self, fault: Fault) -> Place:
        """Where a fault goes.

        Raises:
            Lost: nowhere or in several places, or what it leaves behind is no Python.
        """
        pairs = ((fault.old, fault.new), *fault.otherwise)
        texts = {
            p: t for p, t in self.texts.items() if not fault.file or Path(p).name == fault.file
        }
        found = [
            (path, old, new)
            for old, new in pairs
            for path, text in texts.items()
            for _ in range(text.count(old))
        ]
        if len(found) != 1:
            where = ", ".join(sorted({path for path, *_ in found})) or "nowhere"
            raise Lost(f"{fault.name}: stands {len(found)} times, in {where}")
        path, old, new = found[0]
        after = texts[path].replace(old, new)
        if path.endswith(".py"):
            try:
                ast.parse(after)
            except SyntaxError as error:
                raise Lost(f"{fault.name}: leaves no Python: {error}") from error
        return Place(path, texts[path], after)


def files_of(root: Path, fault: Fault) -> list[str]:
    """The files of a fault's tests that a tree has, beneath its root, in the fault's order."""
    found: list[str] = []
    for wanted in fault.tests:
        folder, _, names = wanted.partition("/")
        for name in names.split("|"):
            paths = sorted((root / "tests" / folder).rglob(f"{name}.py"))
            found += [path.relative_to(root).as_posix() for path in paths]
    return list(dict.fromkeys(found))
