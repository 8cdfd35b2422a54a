"""Where the images lie that a table names: people move folders, and tables do not follow."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from urllib.parse import unquote

from carot.data.labels import composed
from carot.errors import DataError

_ELSEWHERE = re.compile(r"(?:/|[A-Za-z]:/|[a-z][a-z0-9+]*://)")
_LOCAL_FILES = re.compile(r".*[?&]d=")
_UPLOADED = re.compile(r"[0-9a-f]{8}-")


class Places:
    """The image files of a data set, to be found by what a table calls them.

    Args:
        files: their paths beneath the data set, with slashes.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self._files = {composed(file): file for file in files}

    def find(self, name: str, folder: str) -> str | None:
        """The file that a table in `folder` means by `name`; None where it is not there.

        It is the path from the table's folder or from the top, with or without its ending. A name
        without a folder may lie in any; one from another machine (an absolute path or an address)
        is the file whose path ends in as much of it as possible.

        Raises:
            DataError: several files are meant equally well.
        """
        plain = _LOCAL_FILES.sub("/", composed(name.replace("\\", "/")))
        if _ELSEWHERE.match(plain):
            # Names may hold what an address would spell so, and not all who write addresses do.
            return self._by_end(plain) or self._by_end(unquote(plain))
        for start in dict.fromkeys((folder, "")):
            path = posixpath.normpath(posixpath.join(composed(start), plain))
            if path in self._files:
                return self._files[path]
            if found := self._without_ending.get(path):
                return _only(found, name)
        if "/" in plain.removeprefix("./"):
            return None
        return _only(self._named(posixpath.basename(plain)), name)

    def _by_end(self, path: str) -> str | None:
        base = posixpath.basename(path)
        found = self._named(base) or self._named(_UPLOADED.sub("", base, count=1))
        if len(found) < 2:
            return _only(found, path)
        wanted = path.split("/")[::-1]
        alike = {each: _common(each.split("/")[::-1], wanted) for each in found}
        return _only([each for each in found if alike[each] == max(alike.values())], path)

    def _named(self, base: str) -> list[str]:
        return self._by_name.get(base) or self._by_stem.get(base) or []

    @cached_property
    def _without_ending(self) -> dict[str, list[str]]:
        return _grouped((posixpath.splitext(plain)[0], each) for plain, each in self._files.items())

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _grouped((posixpath.basename(plain), each) for plain, each in self._files.items())

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _grouped(
            (posixpath.splitext(posixpath.basename(plain))[0], each)
            for plain, each in self._files.items()
        )


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for key, file in pairs:
        groups[key].append(file)
    return dict(groups)


def _common(one: list[str], other: list[str]) -> int:
    """How many parts at the start are equal."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _only(found: list[str], name: str) -> str | None:
    if len(found) > 1:
        listed = " and ".join(sorted(found)[:3])
        raise DataError(
            f"{name[:200]} may be {listed}; give the path of the image from the table's folder",
            field="dataset",
        )
    return found[0] if found else None
