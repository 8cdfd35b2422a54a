"""Which split each image goes to where none is named, such that no split lacks a class.

Each goes where the hash of its content says (`carot.data.splits`). Only a class that a split would
lack has images moved for it; once it has one in every split by the hash alone, adding others never
moves any.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

from carot.data.splits import SHARES, split_of_digest


def deal(
    digests: Sequence[bytes], labels: Sequence[Hashable], shares: dict[str, float] = SHARES
) -> list[str]:
    """The split of each image, such that every split that can has an image of every class.

    Each goes where its digest says. Where a split then lacks a class, it takes one of that class
    from the first of train, test, calibration and validation that has two; training takes the
    last of another split too. Which one is decided by the digest.

    Args:
        digests: SHA-256 of each image; equal ones are one image, and stay together.
        labels: its class.
    """
    natural = [split_of_digest(digest, shares) for digest in digests]
    return _completed(natural, digests, labels, [name for name in _NEED if name in shares])


def halve(digests: Sequence[bytes], labels: Sequence[Hashable]) -> list[str]:
    """`validation` or `calibration` for each image of a validation split that has to be both.

    Half each, by the ninth byte of the digest; a class of two images or more is in both.
    """
    natural = ["validation" if digest[8] < 128 else "calibration" for digest in digests]
    return _completed(natural, digests, labels, ["calibration", "validation"])


_NEED = ("train", "calibration", "test", "validation")
_GIVE = ("train", "test", "calibration", "validation")

Held = dict[str, set[bytes]]
"""The digests of one class, by split."""


def _completed(
    natural: list[str], digests: Sequence[bytes], labels: Sequence[Hashable], wanted: Sequence[str]
) -> list[str]:
    """`natural` with images moved to the `wanted` splits that lack their class."""
    splits_of: defaultdict[Hashable, set[str]] = defaultdict(set)
    for split, label in zip(natural, labels, strict=True):
        splits_of[label].add(split)
    few = {label for label, splits in splits_of.items() if len(splits) < len(wanted)}
    if not few:
        return natural
    held: dict[Hashable, Held] = {label: defaultdict(set) for label in few}
    owners: defaultdict[bytes, set[Hashable]] = defaultdict(set)
    for split, digest, label in zip(natural, digests, labels, strict=True):
        owners[digest].add(label)
        if label in few:
            held[label][split].add(digest)
    # An image with two labels stays where it is: moved with one of them, it would be in two splits.
    fixed = {digest for digest, classes in owners.items() if len(classes) > 1}
    moved = {label: _moves(by_split, wanted, fixed) for label, by_split in held.items()}
    return [
        moved[label].get(digest, split) if label in few else split
        for split, digest, label in zip(natural, digests, labels, strict=True)
    ]


def _moves(held: Held, wanted: Sequence[str], fixed: set[bytes]) -> Mapping[bytes, str]:
    """Where to move which images of one class; `held` is changed to match."""
    moves: dict[bytes, str] = {}
    for split in wanted:
        if held[split]:
            continue
        givers = [name for name in _GIVE if len(held[name]) > 1]
        if split == "train":
            givers += [name for name in reversed(wanted) if held[name]]
        for giver in givers:
            if free := held[giver] - fixed:
                digest = min(free, key=lambda each: _draw(each, split))
                held[giver].remove(digest)
                held[split].add(digest)
                moves[digest] = split
                break
    return moves


def _draw(digest: bytes, split: str) -> bytes:
    """A lot of this image for this split: whoever is added later changes no other's."""
    return hashlib.sha256(split.encode() + digest).digest()
