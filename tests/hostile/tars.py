"""Tar and gzip files that nobody should send."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable

from tests.api.helpers import picture
from tests.hostile.cases import Case
from tests.hostile.zips import BLANK, PICKLED, pets, refused

END = bytes(1024)


def tarred(files: dict[str, bytes], *more: tarfile.TarInfo, mode: str = "w") -> bytes:
    """A tar of these files, and of headers without a body."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for entry in more:
            archive.addfile(entry)
    return file.getvalue()


def special(kind: bytes, target: str = "/etc/passwd") -> bytes:
    """A good data set with one member of this type."""
    entry = tarfile.TarInfo("cat/link.png")
    entry.type, entry.linkname = kind, target
    return tarred(pets(), entry)


def header(name: bytes = b"cat/x.png", size: bytes = b"00000000100", kind: bytes = b"0") -> bytes:
    """One header block with a right checksum."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108], block[124 : 124 + len(size)] = b"0000644\0", size
    block[136:148], block[156:157], block[257:265] = b"00000000000\0", kind, b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def binary(number: int) -> bytes:
    """A size in base 256, as GNU tar writes those that do not fit into octal."""
    return (b"\xff" if number < 0 else b"\x80") + number.to_bytes(11, "big", signed=number < 0)


def extended(fields: dict[str, str]) -> bytes:
    """A member behind an extended header with these fields."""
    body = b""
    for key, value in fields.items():
        line = f" {key}={value}\n".encode("utf-8", "surrogateescape")
        length = len(line) + len(str(len(line) + 3))
        body += str(length).encode() + line
    size = b"%011o" % len(body)
    padded = body + bytes(-len(body) % 512)
    content = picture(1)
    member = header(size=b"%011o" % len(content)) + content + bytes(-len(content) % 512)
    return header(b"pax", size, b"x") + padded + member + END


def sparse() -> bytes:
    """A terabyte of holes in one block, in the old GNU way."""
    block = bytearray(header(kind=b"S"))
    block[257:265] = b"ustar  \0"
    block[386 : 386 + 24] = b"00000000000\0" + b"00000000100\0"
    block[483:495] = b"17777777777\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(512) + END


def gz(content: bytes) -> bytes:
    return gzip.compress(content, 9)


def blank_tar() -> bytes:
    """Many members that are nothing but zeros, deflated to next to nothing."""
    return gz(tarred(pets() | {f"cat/b{i}.png": bytes(4 << 20) for i in range(10)}))


def tar(name: str, make: Callable[[], bytes], words: str) -> Case:
    return refused(name, make, words, "x-tar")


def gzipped(name: str, make: Callable[[], bytes], words: str) -> Case:
    return refused(name, make, words, "gzip")


CASES = [
    gzipped("gzip-bomb", lambda: gz(bytes(BLANK)), "zip bomb"),
    gzipped("gzip-bomb-in-a-tar", blank_tar, "zip bomb"),
    gzipped("gzip-in-gzip", lambda: gz(gz(gz(tarred(pets())))), "damaged"),
    gzipped("gzip-cut-short", lambda: gz(tarred(pets()))[:-100], "cut short"),
    gzipped("gzip-wrong-crc", lambda: gz(tarred(pets()))[:-8] + bytes(8), "damaged"),
    gzipped("gzip-of-a-pickle", lambda: gz(PICKLED), "damaged"),
    tar("tar-xz", lambda: lzma.compress(tarred(pets())), "not a zip"),
    tar("tar-bz2", lambda: bz2.compress(tarred(pets())), "not a zip"),
    tar("tar-many-members", lambda: header(size=b"0") * 14_000 + END, "twice"),
    tar("tar-climbing", lambda: tarred(pets() | {"../evil.png": picture(1)}), "climbs"),
    tar("tar-absolute", lambda: tarred(pets() | {"/etc/evil.png": picture(1)}), "absolute"),
    tar("tar-symlink", lambda: special(tarfile.SYMTYPE), "a link or a device"),
    tar("tar-symlink-within", lambda: special(tarfile.SYMTYPE, "0.png"), "a link or a device"),
    tar("tar-hardlink", lambda: special(tarfile.LNKTYPE), "a link or a device"),
    tar("tar-character-device", lambda: special(tarfile.CHRTYPE), "a link or a device"),
    tar("tar-block-device", lambda: special(tarfile.BLKTYPE), "a link or a device"),
    tar("tar-fifo", lambda: special(tarfile.FIFOTYPE), "a link or a device"),
    tar("tar-contiguous", lambda: special(tarfile.CONTTYPE), "a link or a device"),
    tar("tar-sparse-map", lambda: extended(
        {"GNU.sparse.map": "0,1,1048576,1", "GNU.sparse.size": str(2**50)}
    ), "a link or a device"),
    tar("tar-sparse", sparse, "a link or a device"),
    tar("tar-sparse-extended", lambda: extended(
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**50)}
    ), "damaged"),
    tar("tar-climbs-in-extended-header", lambda: extended({"path": "../../evil.png"}), "climbs"),
    tar("tar-null-in-extended-header", lambda: extended({"path": "cat/a\0.png"}), "control"),
    tar("tar-huge-in-extended-header", lambda: extended({"size": str(2**62)}), "of one file"),
    tar("tar-negative-in-extended-header", lambda: extended({"size": "-5"}), ""),
    tar("tar-extended-header-bomb", lambda: extended({"comment": "x" * (3 << 20)}), "extended"),
    tar("tar-long-name-bomb", lambda: header(b"././@LongLink", b"00777777777", b"L") + END, ""),
    tar("tar-not-utf8", lambda: header(b"cat/\xff\xfe.png", b"0") + END, "not UTF-8"),
    tar("tar-negative-size", lambda: header(size=binary(-1000)) + END, ""),
    tar("tar-huge-size", lambda: header(size=binary(2**80)) + END, "of one file"),
    tar("tar-size-is-no-number", lambda: header(size=b"9999zzzz999") + END, ""),
    tar("tar-says-more", lambda: header(size=b"00007777777") + END, "cut short"),
    tar("tar-wrong-checksum", lambda: tarred(pets()).replace(b"cat/0", b"cat/9", 1), ""),
    tar("tar-without-end", lambda: tarred(pets())[:6144], "cut short"),
    tar("tar-in-tar", lambda: tarred({"a/0.tar": tarred(pets()), "b.tar": b""}), "no images"),
]  # fmt: skip
