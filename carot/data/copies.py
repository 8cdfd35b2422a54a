"""The same image, byte for byte, in several splits: it counts in the first of them only.

A model is right about an image that it was trained on. Where such images stand in the calibration
split, confidences are fitted to that; where they stand in the test split, every figure is too good.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from carot.data.identity import DataIdentity
from carot.data.source import EncodedSource, ImageSource, SubsetSource
from carot.data.splits import SPLITS
from carot.errors import DataError, UnreadableImage
from carot.warnings import CodedWarning

LISTED = 20


@dataclass
class Copies:
    """Images of later splits that an earlier one has as well.

    Attributes:
        counts: by later and earlier split.
        examples: keys in the later and in the earlier split, at most `LISTED` of them.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, later: str, key: str, earlier: str, first: str) -> None:
        """Count one."""
        self.counts[later, earlier] += 1
        if len(self.examples) < LISTED:
            self.examples.append((key, first))

    def sentence(self) -> str:
        """How many there are where, with an example."""
        found = ", ".join(
            f"{count} of {later} in {earlier}" for (later, earlier), count in self.counts.items()
        )
        key, first = self.examples[0]
        total = sum(self.counts.values())
        plural = "images stand" if total > 1 else "image stands"
        return f"{total} {plural} in two splits, byte for byte ({found}; {key!r} is {first!r})"

    def refuse(self, where: str, fieldname: str) -> None:
        """Raise if there are any.

        Raises:
            DataError: they are counted and some are named.
        """
        if self.counts:
            raise DataError(
                f"{where}: {self.sentence()}; keep each image in one split, or have copies left "
                "out of the later one (copies: leave_out)",
                field=fieldname,
            )

    def warnings(self, where: str) -> list[CodedWarning]:
        """That they were left out; none if there are none."""
        if not self.counts:
            return []
        message = f"{where}: {self.sentence()}; each counts in the earlier split only"
        names = tuple(key for key, _ in self.examples)
        return [CodedWarning(code="copies_across_splits", message=message, names=names)]


class FirstOfEach:
    """Told of images split by split, in the order of `SPLITS`, knows which came before."""

    def __init__(self) -> None:
        self.copies = Copies()
        self._first: dict[bytes, tuple[str, str]] = {}

    def is_copy(self, digest: bytes, split: str | None, key: str) -> bool:
        """Whether an earlier split has this image. Without splits nothing is a copy."""
        if split is None:
            return False
        first, name = self._first.setdefault(digest, (split, key))
        if first == split:
            return False
        self.copies.add(split, key, first, name)
        return True


@dataclass(frozen=True)
class Found:
    """Which images are copies, by split and position."""

    copies: Copies
    left_out: Mapping[str, frozenset[int]]


def without_copies(open_split: Callable[[str], ImageSource], split: str) -> ImageSource:
    """A split without the images that an earlier one has.

    Args:
        open_split: opens any split of the data set.
    """
    source = open_split(split)
    left_out = find_copies(open_split, source, split).left_out.get(split)
    if not left_out:
        return source
    return SubsetSource(source, [i for i in range(len(source)) if i not in left_out])


def find_copies(
    open_split: Callable[[str], ImageSource], known: ImageSource | None = None, last: str = "test"
) -> Found:
    """The copies in the splits up to `last`.

    Only files of equal size are read. Large sets whose files are only listed (`imagenet:` and the
    like) are not looked at: their splits are published.

    Args:
        known: the split `last`, where it is opened already.
    """
    names = SPLITS[: SPLITS.index(last) + 1]
    if len(names) == 1 or (known is not None and not _is_looked_at(known)):
        return Found(Copies(), {})
    sources = {name: open_split(name) for name in names[:-1]}
    sources[last] = open_split(last) if known is None else known
    if not all(map(_is_looked_at, sources.values())):
        return Found(Copies(), {})
    return _found(_Splits.of(sources))


def _is_looked_at(source: ImageSource) -> bool:
    return isinstance(source, EncodedSource) and source.may_share_images


@dataclass(frozen=True)
class _Splits:
    """Opened splits, which are equal if their names, sizes and times are."""

    identities: tuple[tuple[str, str, str], ...]
    sources: Mapping[str, ImageSource] = field(compare=False)

    @classmethod
    def of(cls, sources: Mapping[str, ImageSource]) -> _Splits:
        found = ((name, DataIdentity.of(source)) for name, source in sources.items())
        return cls(tuple((name, each.names, each.contents) for name, each in found), sources)


@lru_cache(maxsize=4)
def _found(splits: _Splits) -> Found:
    """A run opens its splits several times: what was found is kept."""
    by_size: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, source in splits.sources.items():
        assert isinstance(source, EncodedSource)
        for index in range(len(source)):
            by_size[source.size(index)].append((name, index))
    first, left_out = FirstOfEach(), defaultdict[str, set[int]](set)
    for name, index in _in_order(by_size.values()):
        source = splits.sources[name]
        assert isinstance(source, EncodedSource)
        digest = _digest(source, index)
        if digest is not None and first.is_copy(digest, name, str(source.keys[index])):
            left_out[name].add(index)
    return Found(first.copies, {name: frozenset(found) for name, found in left_out.items()})


def _in_order(groups: Iterable[list[tuple[str, int]]]) -> list[tuple[str, int]]:
    """The images whose size images of another split have as well, split by split."""
    shared = [each for group in groups if len({name for name, _ in group}) > 1 for each in group]
    return sorted(shared, key=lambda each: (SPLITS.index(each[0]), each[1]))


def _digest(source: EncodedSource, index: int) -> bytes | None:
    try:
        content = source.content(index)
        if isinstance(content, Path):
            with content.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        return hashlib.sha256(content).digest()
    except (OSError, UnreadableImage):
        return None  # it is counted as unreadable where it is used
