"""Labels as they are written, and what they mean: numbers or words, none at all, or captions."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carot.errors import DataError
from carot.warnings import CodedWarning

MISSING = frozenset({"", "null", "nan"})
"""What stands, in any case, where an image has no label."""
UNLABELLED = re.compile(r"-[0-9]{1,18}(\.0+)?")
MAX_NAME = 200
"""Most bytes of a class name."""
MANY = 10
"""From so many images on, labels that are nearly all different are no classes."""
SENTENCE = 3.0
"""Words to a label, on average, from which fewer images than that suffice."""

_CANONICAL = re.compile(r"0|[1-9][0-9]{0,17}")
_WHOLE = re.compile(r"(0|[1-9][0-9]{0,17})\.0+")
_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?")


@dataclass(frozen=True)
class Settled:
    """What some labels mean.

    Attributes:
        labels: the class of each image; None where it has no label.
        are_indices: whether all of them are integers from 0, written as such.
    """

    labels: list[str | None]
    are_indices: bool
    warnings: tuple[CodedWarning, ...] = ()


def settle(written: Sequence[str | None], where: str) -> Settled:
    """The classes that are meant by labels as they are written.

    Blanks of any kind, and line ends, are one blank. `01` and `1` are words like any other: only
    where every label is an integer from 0, written without leading zeros, are they indices.
    Where they all are, as floats (`0.0`), they are read as integers, with a warning. No label is
    an empty one, `null` or `nan`, and a negative number among indices.
    """
    texts = [None if text is None else " ".join(composed(text).split()) for text in written]
    texts = [None if text is None or text.lower() in MISSING else text for text in texts]
    distinct = {text for text in texts if text is not None}
    numbers = {text for text in distinct if not UNLABELLED.fullmatch(text)}
    if not numbers or not all(_CANONICAL.fullmatch(t) or _WHOLE.fullmatch(t) for t in numbers):
        return Settled(texts, are_indices=False)
    floats = sorted(text for text in numbers if _WHOLE.fullmatch(text))
    meant = {text: text.partition(".")[0] for text in numbers}
    warnings: tuple[CodedWarning, ...] = ()
    if floats:
        message = f"{where}: labels written as {floats[0]} are read as {meant[floats[0]]}"
        warnings = (CodedWarning(code="float_labels", message=message),)
    return Settled([meant.get(t) if t is not None else None for t in texts], True, warnings)


def composed(name: str) -> str:
    """The name with each letter and its accents as one character: one spelling of each name."""
    return unicodedata.normalize("NFC", name)


def unlabelled(count: int, total: int, where: str) -> tuple[CodedWarning, ...]:
    """The warning of images that are left out since nobody says what they show, if there are."""
    if not count:
        return ()
    message = f"{where}: {count} of {total} images have no label and are left out"
    return (CodedWarning(code="images_unlabelled", message=message),)


def check_no_captions(labels: Sequence[str], where: str, place: str = "`label`") -> None:
    """Refuse what says something else of nearly every image.

    Args:
        place: where a class belongs, for the message.

    Raises:
        DataError: more than half as many labels as images, of which there are `MANY`, or which
            are sentences.
    """
    counts = Counter(labels)
    if len(counts) <= len(labels) / 2 or len(labels) < 3:
        return
    words = sum(len(label.split()) for label in labels) / len(labels)
    if len(labels) >= MANY or words >= SENTENCE:
        raise DataError(
            f"{where}: {len(counts)} different labels for {len(labels)} images, such as "
            f"{labels[0][:60]!r}: captions or names of images, not classes; give the class of "
            f"each image in {place}",
            field="dataset",
        )


def check_class_name(label: str, where: str) -> None:
    """Refuse what nobody can mean by the name of a class; a slash is meant.

    Raises:
        DataError: characters that cannot be printed, more than `MAX_NAME` bytes, or a path that
            climbs.
    """
    climbs = any(part in (".", "..") for part in label.split("/"))
    if climbs or not label.isprintable() or len(label.encode()) > MAX_NAME:
        raise DataError(
            f"{where}: {label[:80]!a} cannot be a class name: no control characters, no path with "
            f"`..`, at most {MAX_NAME} bytes",
            field="dataset",
        )


def in_order(names: Iterable[str]) -> list[str]:
    """Class names as they are listed: by size where all are numbers, otherwise by alphabet."""
    distinct = sorted(set(names))
    if all(_NUMBER.fullmatch(name) for name in distinct):
        return sorted(distinct, key=float)
    return distinct
