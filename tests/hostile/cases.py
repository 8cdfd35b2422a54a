"""One hostile request: how it is made, and what it must get."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

HUNG_UP = 599
"""In place of a status: the server closed the connection without a word."""
Check = Callable[[httpx.Response], None]


@dataclass(frozen=True)
class Sent:
    """What goes over the wire: a request for httpx, or the raw bytes of one.

    Attributes:
        raw: pieces for a socket; None stands for closing the sending half.
    """

    method: str = "POST"
    path: str = "/"
    options: Mapping[str, Any] = field(default_factory=dict)
    raw: Sequence[bytes | None] | None = None


@dataclass(frozen=True)
class Case:
    """A request by name.

    Attributes:
        make: builds it, outside of what is measured.
        status: what it is answered with.
        field: what the problem names; None where nothing is wrong, or not with a field.
        words: stand in the problem's detail or in its errors.
        kept: rows that an accepted request may leave; refused ones leave none.
        check: what else holds of the answer.
        problem: whether a refusal is a problem document; what is no HTTP never reaches the API.
    """

    name: str
    make: Callable[[], Sent]
    status: int
    field: str | None = None
    words: str = ""
    kept: Sequence[str] = ()
    check: Check | None = None
    problem: bool = True


def upload(content: bytes, media_type: str = "application/zip", **query: str) -> Sent:
    """An archive as the whole body."""
    options = {"content": content, "headers": {"Content-Type": media_type}, "params": query}
    return Sent("POST", "/datasets", options)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, with a right checksum."""
    import struct
    import zlib

    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc
