"""The four splits, what they are called, and how images without one are dealt out.

Training data fits the weights, validation data chooses hyper-parameters, calibration data fits
the temperature, test data is only measured. A share decided by a hash of the content keeps equal
images in one split and never moves an image when others are added; small classes are dealt with
more care (`carot.data.dealing`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

from carot.errors import DataError

SPLITS = ("train", "validation", "calibration", "test")

SHARES = {"train": 0.60, "validation": 0.10, "calibration": 0.15, "test": 0.15}
"""Expected share of each split where a data set comes without splits of its own."""

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "trainval": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validate": "validation",
    "dev": "validation",
    "calibration": "calibration",
    "calib": "calibration",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "test",
    "evaluation": "test",
}
"""What a split is called: as a folder, in a file's name, as a value in a table."""

_AFFIX = re.compile(r"(?<=.)(?:set|data|images?|imgs?|split|folder)$")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_LETTERS = re.compile(r"[^a-z]+")


@lru_cache(maxsize=4096)
def split_named(name: str) -> str | None:
    """The split that a word of `name` says; None where none does.

    In any case, beside any other words: `Training`, `seg_train`, `test2017`, `trainSet`,
    `dev-00000-of-00003`; but not inside of a word: `latest`, `contest`.

    Raises:
        DataError: it has the words of two splits.
    """
    words = _NO_LETTERS.split(_CAMEL.sub(" ", name).lower())
    found = {split for word in words if (split := SPLIT_WORDS.get(_bare(word))) is not None}
    if len(found) > 1:
        raise DataError(
            f"{name[:100]}: named after {' and '.join(sorted(found))}; name it after one of them",
            field="dataset",
        )
    return found.pop() if found else None


def is_split_word(name: str) -> bool:
    """Whether `name` is nothing but the word of a split, such as `Train` or `testing`."""
    return name.strip().lower() in SPLIT_WORDS


def _bare(word: str) -> str:
    """`trainset` is `train`, `testimages` is `test`; what is a word by itself stays."""
    return word if word in SPLIT_WORDS else _AFFIX.sub("", word)


def split_of(content: bytes, shares: dict[str, float] = SHARES) -> str:
    """The split of an image with these bytes, by the first 8 bytes of their SHA-256."""
    return split_of_digest(hashlib.sha256(content).digest(), shares)


def split_of_digest(digest: bytes, shares: dict[str, float] = SHARES) -> str:
    """The split of an image whose content has this SHA-256 digest (at least 8 bytes)."""
    position = int.from_bytes(digest[:8], "big") / 2**64
    passed = 0.0
    names: Sequence[str] = tuple(shares)
    for name in names:
        passed += shares[name]
        if position < passed:
            return name
    return names[-1]
