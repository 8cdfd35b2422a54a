"""Zip files that nobody should send, written byte by byte where `zipfile` would refuse."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from tests.api.helpers import picture
from tests.hostile.cases import Case, Sent, upload

Files = Mapping[str, bytes]
SCRIPTS = ("'; DROP TABLE jobs;--", "$(touch pwned)`id`", "{{7*7}}", "%s%n<b>&amp;")
BLANK = 40 << 20


def pets(n: int = 3, prefix: str = "") -> dict[str, bytes]:
    """A data set that can be used."""
    return {
        f"{prefix}{name}/{i}.png": picture(1000 * c + i)
        for c, name in enumerate(("cat", "dog"))
        for i in range(n)
    }


def zipped(files: Files, change: Callable[[zipfile.ZipFile], None] | None = None) -> bytes:
    """A zip of these files; `change` may spoil its directory before it is written."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        if change is not None:
            change(archive)
    return file.getvalue()


def named(*names: str) -> bytes:
    """A good data set with more images, under these names."""
    return zipped(pets() | {name: picture(50 + i) for i, name in enumerate(names)})


def raw_named(name: bytes, flags: int = 0) -> bytes:
    """One stored file whose name is these very bytes."""
    content = picture(1)
    crc, size = zlib.crc32(content), len(content)
    sizes = struct.pack("<III", crc, size, size)
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, flags, 0, 0, 0) + sizes
    local += struct.pack("<HH", len(name), 0) + name + content
    central = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, flags, 0, 0, 0) + sizes
    central += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    counts = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + b"PK\x05\x06" + counts


def of_kind(kind: int) -> bytes:
    """A member that says it is a link, a device, …"""

    def change(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("cat/link.png")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")

    return zipped(pets(), change)


def changed(**attributes: Any) -> bytes:
    """The directory lies about the last member."""

    def change(archive: zipfile.ZipFile) -> None:
        archive.writestr("cat/lie.png", picture(9) * 50)
        for name, value in attributes.items():
            setattr(archive.filelist[-1], name, value)

    return zipped(pets(), change)


def overlapping() -> bytes:
    """Many entries of the directory that share one body (Fifield's construction)."""

    def change(archive: zipfile.ZipFile) -> None:
        archive.writestr("cat/x.png", picture(9) * 50)
        first = archive.filelist[-1]
        for i in range(500):
            twin = zipfile.ZipInfo(f"cat/twin{i}.png")
            for name in ("CRC", "compress_size", "file_size", "header_offset", "compress_type"):
                setattr(twin, name, getattr(first, name))
            archive.filelist.append(twin)

    return zipped(pets(), change)


def nested() -> bytes:
    """Zips in zips in zips, a gigabyte in the end."""
    content = zipped({f"{i}.bin": bytes(8 << 20) for i in range(4)})
    for level in range(3):
        content = zipped({f"{level}-{i}.zip": content for i in range(4)})
    return content


def encrypted() -> bytes:
    content = bytearray(zipped(pets(1)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        content[at + offset] |= 1
    return bytes(content)


def packed_with(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in pets().items():
            archive.writestr(name, content)
    return file.getvalue()


def patched(signature: bytes, offset: int, content: bytes, *, last: bool = False) -> bytes:
    """A good zip with some bytes behind a signature replaced."""
    whole = bytearray(zipped(pets()))
    at = (whole.rfind if last else whole.find)(signature) + offset
    whole[at : at + len(content)] = content
    return bytes(whole)


def zip64_lies() -> bytes:
    """The end record sends the reader to a directory of 2^60 bytes at 2^60."""
    content = zipped(pets())
    end = content.rfind(b"PK\x05\x06")
    huge = struct.pack("<QQQQ", 2**60, 2**60, 2**60, 2**60)
    record = b"PK\x06\x06" + struct.pack("<QHHII", 44, 45, 45, 0, 0) + huge
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    tail = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0)
    return content[:end] + record + locator + tail


MARKER = "/tmp/carot-was-here"
PICKLED = f"cos\nsystem\n(S'touch {MARKER}'\ntR.".encode()
"""A pickle, written by hand, that runs a command when it is loaded."""
CHECKPOINT = zipped({"archive/data.pkl": PICKLED, "archive/version": b"3"})
"""What torch.save writes, in the main: a zip around a pickle."""
OBJECTS = (
    b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(117)
    + b"\n"
    + PICKLED
)
"""A .npy file of objects."""


def refused(name: str, make: Callable[[], bytes], words: str, media: str = "zip") -> Case:
    """An archive that cannot be used."""
    return Case(
        name,
        lambda: upload(make(), f"application/{media}"),
        422,
        "file",
        words,
    )


def as_named(*classes: str) -> Callable[[httpx.Response], None]:
    def check(answer: httpx.Response) -> None:
        assert set(classes) <= set(answer.json()["classes"])

    return check


def accepted(name: str, make: Callable[[], bytes], *classes: str) -> Case:
    """Ugly, legal, and stored under the very names that were sent."""
    return Case(
        name,
        lambda: upload(make()),
        201,
        kept=("datasets", "artifacts"),
        check=as_named(*classes),
    )


def of_class(number: int, name: str) -> Case:
    """A class that is called like this."""
    return accepted(f"zip-class-{number}", lambda: named(f"{name}/1.png"), name)


CSV = {f"{i}.png": picture(i) for i in range(4)}


def with_csv(text: str | bytes) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return zipped(CSV | {"labels.csv": content})


def form_named(number: int, name: str) -> Case:
    """An archive in a form, whose file is called like this."""

    def check(answer: httpx.Response) -> None:
        assert answer.json()["name"] == name

    files = {"file": (name, zipped(pets()), "application/zip")}
    return Case(f"zip-form-{number}", lambda: Sent("POST", "/datasets", {"files": files}), 201,
                kept=("datasets", "artifacts"), check=check)  # fmt: skip


FORMS = ("../../../etc/cron.d/x.zip", "C:x.zip", "'; DROP TABLE jobs;--.zip", "<b>كلب</b>.zip")
CASES = [
    refused("zip-bomb", lambda: zipped(pets() | {"cat/b.png": bytes(BLANK)}), "zip bomb"),
    refused("zip-bomb-not-an-image", lambda: zipped(pets() | {"x.bin": bytes(BLANK)}), "zip bomb"),
    refused("zip-overlapping", overlapping, "overlaps"),
    refused("zip-nested", nested, "no images"),
    refused("zip-many-members", lambda: zipped({f"{i}": b"" for i in range(20_000)}), "no images"),
    refused("zip-climbing", lambda: named("../evil.png"), "climbs"),
    refused("zip-climbing-later", lambda: named("cat/../../evil.png"), "climbs"),
    refused("zip-absolute", lambda: named("/etc/cron.d/evil.png"), "absolute"),
    refused("zip-drive", lambda: named("C:/Windows/evil.png"), "absolute"),
    refused("zip-backslashes", lambda: raw_named(b"..\\..\\evil.png"), "backslash"),
    refused("zip-unc", lambda: raw_named(b"\\\\host\\share\\evil.png"), "backslash"),
    refused("zip-null", lambda: raw_named(b"cat/a.png\0.exe"), "null character"),
    refused("zip-newline", lambda: named("cat/a\r\nSet-Cookie: x.png"), "control characters"),
    refused("zip-escape-sequence", lambda: named("cat/\x1b[2J.png"), "control characters"),
    refused("zip-long-name", lambda: named("cat/" + "x" * 5000 + ".png"), "too long"),
    refused("zip-deep-name", lambda: named("a/" * 5000 + "b.png"), "too deep"),
    refused("zip-bytes-not-utf8", lambda: raw_named(b"cat/\xff\xfe.png", 0x800), "damaged"),
    refused("zip-surrogates", lambda: raw_named(b"cat/\xed\xa0\x80.png", 0x800), "damaged"),
    refused("zip-same-name-twice", lambda: named("cat/\u00e9.png", "cat/e\u0301.png"), "twice"),
    refused("zip-symlink", lambda: of_kind(stat.S_IFLNK), "a link or a device"),
    refused("zip-fifo", lambda: of_kind(stat.S_IFIFO), "a link or a device"),
    refused("zip-device", lambda: of_kind(stat.S_IFBLK), "a link or a device"),
    refused("zip-encrypted", encrypted, "encrypted"),
    refused("zip-bzip2", lambda: packed_with(zipfile.ZIP_BZIP2), "another method"),
    refused("zip-lzma", lambda: packed_with(zipfile.ZIP_LZMA), "another method"),
    refused("zip-cut-short", lambda: zipped(pets())[:-30], "cut short"),
    refused("zip-without-directory", lambda: zipped(pets())[:300], "cut short"),
    refused("zip-wrong-crc", lambda: changed(CRC=1), "damaged"),
    refused("zip-says-less", lambda: changed(file_size=10), "damaged"),
    refused("zip-says-more", lambda: changed(file_size=5 << 20), "another number"),
    refused("zip-says-terabytes", lambda: changed(file_size=1 << 40), "of one file"),
    refused("zip-offset-elsewhere", lambda: changed(header_offset=1 << 40), "overlaps"),
    refused("zip64-lies", zip64_lies, "damaged"),
    refused(
        "zip-directory-elsewhere",
        lambda: patched(b"PK\x05\x06", 16, b"\xf0\xff\xff\x0f", last=True),
        "damaged",
    ),
    refused("zip-of-a-pickle", lambda: CHECKPOINT, "no images"),
    refused("zip-pickles-as-images", lambda: zipped(pets() | {"cat/x.png": PICKLED}), "not one of"),
    refused("zip-objects-as-images", lambda: zipped(pets() | {"cat/x.png": OBJECTS}), "not one of"),
    refused("zip-empty", lambda: zipped({}), "no images"),
    refused("not-an-archive", lambda: b"<html>hello</html>", "not a zip"),
    refused("a-pickle", lambda: PICKLED, "not a zip"),
    refused("seven-zip", lambda: b"7z\xbc\xaf\x27\x1c" + bytes(100), "not a zip"),
    refused("rar", lambda: b"Rar!\x1a\x07\x01\x00" + bytes(100), "not a zip"),
    refused("program-then-zip", lambda: b"\x7fELF" + bytes(60) + zipped(pets()), "not a zip"),
    Case("empty-archive", lambda: upload(b""), 400, words="empty"),
    refused("csv-climbing", lambda: with_csv("filepath,label\n../../etc/passwd,a\n0.png,b"), "2"),
    refused("csv-climbing-label", lambda: with_csv("filepath,label\n0.png,../a"), "class name"),
    refused("csv-null", lambda: with_csv("filepath,label\n0.png,a\0b\n1.png,c"), "class name"),
    refused("csv-not-text", lambda: with_csv(b"filepath,label\n\xff\xfe,a"), "UTF-8"),
    refused(
        "csv-huge-field", lambda: with_csv("filepath,label\n0.png," + "x" * 200_000), "not a CSV"
    ),
    refused("csv-split", lambda: with_csv("filepath,label,split\n0.png,a,../x"), "is none of"),
    accepted(
        "csv-formulas",
        lambda: with_csv("filepath,label\n0.png,=cmd|' -C calc'!A0\n1.png,@SUM(1)"),
        "=cmd|' -C calc'!A0", "@SUM(1)",
    ),
    *map(of_class, range(len(SCRIPTS)), SCRIPTS),
    *map(form_named, range(len(FORMS)), FORMS),
    accepted("zip-case-clash", lambda: named("CAT/0.png", "Cat/0.png"), "CAT", "Cat", "cat"),
    accepted("zip-right-to-left", lambda: named("كلب/0.png", "חתול/0.png"), "كلب", "חתול"),
    accepted("zip-astral", lambda: named("🐈‍⬛/0.png", "con/0.png"), "🐈‍⬛", "con"),
    accepted("zip-prototype", lambda: named("__proto__/0.png"), "__proto__"),
]  # fmt: skip
