"""The four splits, and how images without one are dealt out.

Training data fits the weights, validation data chooses hyper-parameters, calibration data fits
the temperature, test data is only measured. A share decided by a hash of the content keeps equal
images in one split and never moves an image when others are added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

SPLITS = ("train", "validation", "calibration", "test")

SHARES = {"train": 0.60, "validation": 0.10, "calibration": 0.15, "test": 0.15}
"""Expected share of each split where a data set comes without splits of its own."""


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
