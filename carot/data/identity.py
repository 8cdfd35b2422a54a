"""Which images a data set held: enough to notice that it is another one, and to say how."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from carot.data.source import ImageSource

LISTED = 5


class DataIdentity(BaseModel):
    """The images of one split, without their contents.

    Attributes:
        classes: the C names, in order.
        counts: images of each class.
        names: SHA-256 of keys and labels, in order.
        contents: SHA-256 of what changes when an image does: sizes and times of files, pixels of
            images in memory (`ImageSource.mark`).
        captions: SHA-256 of the captions that came with the images.
    """

    model_config = ConfigDict(frozen=True)

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    names: str
    contents: str
    captions: str = ""

    @classmethod
    def of(cls, source: ImageSource) -> DataIdentity:
        """That of a split; a look at each file, none into it."""
        labels = source.labels.tolist()
        names = (f"{label} {key}" for key, label in zip(source.keys, labels, strict=True))
        counts = [0] * len(source.classes)
        for label in labels:
            counts[label] += 1
        captions = ("\0".join(each) for each in source.captions or ())
        return cls(
            classes=source.classes,
            counts=tuple(counts),
            names=_digest(name.encode("utf-8", "surrogateescape") for name in names),
            contents=_digest(map(source.mark, range(len(source)))),
            captions=_digest(each.encode("utf-8", "surrogateescape") for each in captions),
        )

    def changes(self, now: DataIdentity) -> list[str]:
        """What is different now, in words; empty where nothing is."""
        if self.classes != now.classes:
            return [_of_classes(self.classes, now.classes)]
        if self.counts != now.counts:
            differ = [
                f"{name}: {before} images then, {after} now"
                for name, before, after in zip(self.classes, self.counts, now.counts, strict=True)
                if before != after
            ]
            return _first(differ)
        if self.names != now.names:
            return ["as many images of each class, but under other names or labels"]
        if self.captions not in ("", now.captions):
            return ["the captions of some images"]
        if self.contents != now.contents:
            return ["the same names, but files of another size or time"]
        return []


def _of_classes(before: Sequence[str], after: Sequence[str]) -> str:
    gone = [name for name in before if name not in set(after)]
    new = [name for name in after if name not in set(before)]
    if not gone and not new:
        return "the classes are in another order"
    parts = [("gone", gone), ("new", new)]
    return "; ".join(f"{word}: {', '.join(_first(names))}" for word, names in parts if names)


def _first(names: list[str]) -> list[str]:
    more = len(names) - LISTED
    return names[:LISTED] + ([f"{more} more"] if more > 0 else [])


def _digest(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(4, "big") + part)
    return whole.hexdigest()
