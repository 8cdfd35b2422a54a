"""Safetensors files that are equal, byte for byte, whenever their contents are.

The library keeps metadata in a hash map, whose order is another in every process; here its keys
are sorted. The order of tensors is the library's own: it is fixed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save, save_file
from torch import Tensor

METADATA = "__metadata__"
LENGTH_BYTES = 8


def to_bytes(tensors: dict[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file in memory.

    Args:
        tensors: contiguous, and none sharing memory with another.
        metadata: text beside them.
    """
    if not metadata:
        return save(tensors)
    data = save(tensors, dict(metadata))
    end = LENGTH_BYTES + _length(data)
    return data[:LENGTH_BYTES] + _sorted(data[LENGTH_BYTES:end]) + data[end:]


def write(
    tensors: dict[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file.

    Args:
        tensors: contiguous, and none sharing memory with another.
        metadata: text beside them.

    Raises:
        SafetensorError: it cannot be written.
    """
    if not metadata:
        save_file(tensors, path)
        return
    save_file(tensors, path, dict(metadata))
    with path.open("r+b") as file:
        header = file.read(_length(file.read(LENGTH_BYTES)))
        file.seek(LENGTH_BYTES)
        file.write(_sorted(header))


def metadata_of(data: bytes) -> dict[str, str]:
    """The text beside the tensors of a file in memory; empty where there is none.

    Raises:
        ValueError: not JSON where the header should be.
    """
    header = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + _length(data)])
    metadata: dict[str, str] = header.get(METADATA, {})
    return metadata


def _length(data: bytes) -> int:
    return int.from_bytes(data[:LENGTH_BYTES], "little")


def _sorted(header: bytes) -> bytes:
    """The same header, as long, with the keys of its metadata in order."""
    entries = json.loads(header)
    entries[METADATA] = dict(sorted(entries[METADATA].items()))
    ordered = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(ordered) <= len(header), "the library writes JSON as compactly as this"
    return ordered.ljust(len(header))  # the format fills up with spaces
