"""Damaged bytes are never passed on in full, so that nobody takes them for good ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from store.artifacts.base import checked
from store.errors import ArtifactCorrupt

PIECES = [b"one", b"two", b"three"]
WHOLE = b"".join(PIECES)
SUM = hashlib.sha256(WHOLE).hexdigest()


@pytest.mark.parametrize(
    "pieces",
    [[b"one", b"two", b"thrEe"], [b"One", b"two", b"three"], [b"one", b"two"], [*PIECES, b"more"]],
)
def test_the_end_is_withheld_until_all_is_known_to_be_good(pieces: list[bytes]) -> None:
    received: list[bytes] = []

    def receive(content: Iterator[bytes]) -> None:
        received.extend(content)

    with pytest.raises(ArtifactCorrupt):
        receive(checked(pieces, "key", SUM, len(WHOLE), whole=True))
    assert b"".join(received) != b"".join(pieces)


@pytest.mark.parametrize("pieces", [PIECES, [WHOLE], [b"", *PIECES, b""]])
def test_good_bytes_are_passed_on_whole(pieces: list[bytes]) -> None:
    assert b"".join(checked(pieces, "key", SUM, len(WHOLE), whole=True)) == WHOLE


def test_nothing_is_also_whole() -> None:
    assert list(checked([], "key", hashlib.sha256().hexdigest(), 0, whole=True)) == []
