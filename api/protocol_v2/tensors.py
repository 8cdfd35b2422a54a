"""Tensors on the wire: row-major lists in JSON, or little-endian bytes behind it."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from api.web.problems import invalid

Datatype = Literal["BOOL", "INT32", "FP64", "BYTES"]
NUMBERS = {"BOOL": "?", "INT32": "<i4", "FP64": "<f8"}
LENGTH = struct.Struct("<I")
"""Before each element of BYTES."""


@dataclass(frozen=True)
class Tensor:
    """Values in row-major order; those of BYTES are text."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: Sequence[Any]

    def to_bytes(self) -> bytes:
        """The values without gaps, as the binary extension has them."""
        if self.datatype != "BYTES":
            return np.asarray(self.values, dtype=NUMBERS[self.datatype]).tobytes()
        encoded = [str(value).encode("utf-8") for value in self.values]
        return b"".join(part for each in encoded for part in (LENGTH.pack(len(each)), each))

    def to_json(self) -> dict[str, Any]:
        """The tensor with its values."""
        return self.header() | {"data": list(self.values)}

    def header(self) -> dict[str, Any]:
        """The tensor without its values."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def binary_elements(content: memoryview, field: str) -> Iterator[bytes]:
    """The elements of a tensor of BYTES in its binary form.

    Raises:
        Problem: 422 that names the field; an element reaches beyond the end.
    """
    place = 0
    while place < len(content):
        end = place + LENGTH.size
        if end > len(content):
            raise invalid(field, "the binary data ends within an element's length")
        (size,) = LENGTH.unpack(content[place:end])
        if size > len(content) - end:
            raise invalid(field, "an element is longer than what is left of the binary data")
        place = end + size
        yield bytes(content[end:place])


def json_elements(data: Any, field: str) -> Iterator[str]:
    """The elements of a tensor of BYTES in JSON, in lists of any depth up to two.

    Raises:
        Problem: 422 that names the field; one is no text.
    """
    for i, each in enumerate(data):
        for element in each if isinstance(each, list) else (each,):
            if not isinstance(element, str):
                raise invalid(f"{field}.{i}", "an encoded image as base64 text is needed")
            yield element


def from_base64(text: str) -> bytes:
    """The bytes that base64 text stands for.

    Raises:
        ValueError: it is none.
    """
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"not base64: {error}") from error
