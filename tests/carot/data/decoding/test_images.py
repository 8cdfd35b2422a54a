"""Whole pixels beside notes that are damaged, or larger than Pillow likes."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from carot.data.decoding.images import decode_image
from carot.data.inspection import Inspection

ORIENTATION, DESCRIPTION, WIDTH, PRIMARY = 0x112, 0x10E, 0x100, 0x13C
WIDE = Image.fromarray((np.arange(6 * 8 * 3) % 251).astype(np.uint8).reshape(6, 8, 3))


def exif(*fields: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of fields (tag, type, count, value)."""
    after = 8 + 2 + 12 * len(fields) + 4
    table, values = struct.pack("<H", len(fields)), b""
    for tag, kind, count, value in fields:
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", after + len(values))
        values += value if len(value) > 4 else b""
        table += struct.pack("<HHI", tag, kind, count) + place
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + table + bytes(4) + values


def encoded(kind: str, notes: bytes) -> bytes:
    file = io.BytesIO()
    WIDE.save(file, kind, exif=notes)
    return file.getvalue()


TURNED = (ORIENTATION, 3, 1, struct.pack("<H", 6))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "damaged",
    [
        (WIDTH, 2, 5, b"abcd\0"),
        (DESCRIPTION, 1, 3, b"\xff\xfe\xfd"),
        (PRIMARY, 10, 1, struct.pack("<ii", 1, 0)),
    ],
)
def test_a_damaged_field_of_exif_costs_nothing(
    kind: str, damaged: tuple[int, int, int, bytes]
) -> None:
    content = encoded(kind, exif(TURNED, damaged))
    decoded = decode_image(content, "x")
    assert decoded.size == (6, 8)
    sound = decode_image(encoded(kind, exif(TURNED)), "x")
    assert decoded.tobytes() == sound.tobytes()


def test_xmp_that_is_no_text_costs_nothing() -> None:
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x>\xa8\xff tiff:Orientation="6"</x>'
    plain = encoded("JPEG", b"")
    content = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + plain[2:]
    assert decode_image(content, "x").size in {(8, 6), (6, 8)}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_that_is_none_leaves_the_image_as_it_is_stored(kind: str) -> None:
    assert decode_image(encoded(kind, b"Exif\0\0" + b"\xff" * 40), "x").size == (8, 6)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
@pytest.mark.parametrize("place", [33, -12])  # behind the header, before the end
def test_two_megabytes_of_notes_cost_nothing(kind: bytes, place: int) -> None:
    before = b"k\0\1\0\0\0" if kind == b"iTXt" else b"k\0\0"
    plain = encoded("PNG", b"")
    notes = chunk(kind, before + zlib.compress(bytes(2 << 20)))
    assert decode_image(plain[:place] + notes + plain[place:], "x").tobytes() == WIDE.tobytes()


def test_copies_are_looked_for_upright_beside_damaged_exif() -> None:
    inspection = Inspection()
    content = encoded("JPEG", exif(TURNED, (WIDTH, 2, 5, b"abcd\0")))
    assert inspection.take(content, "train", "a.jpg")
    assert not inspection.take(content, "test", "b.jpg")
