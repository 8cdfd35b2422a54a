"""Images that nobody should send, in predictions; and what else a prediction can hold."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import httpx
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.hostile.cases import Case, Sent, chunk
from tests.hostile.zips import CHECKPOINT, OBJECTS, PICKLED, SCRIPTS, pets, zipped

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MODEL = "bright"
FILE = "image.png"
NOT_ONE = "not one of"
SPOILED = "image file is truncated"


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 16, height: int = 16, mode: str = "RGB") -> Image.Image:
    pixels = random.Random(width).randbytes(3 * width * height)
    return Image.frombytes("RGB", (width, height), pixels).convert(mode)


WHITE, BLACK = (Image.new("RGB", (16, 16), (level,) * 3) for level in (255, 0))


def png(
    width: int, height: int, rows: bytes, *extra: bytes, depth: int = 8, kind: int = 0
) -> bytes:
    """A PNG of one IDAT chunk, with chunks before it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows, 9))
    return SIGNATURE + head + b"".join(extra) + body + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    content = bytearray(encoded(noise(), "JPEG"))
    at = content.find(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of(width: int, height: int, *, animated: bool = False) -> bytes:
    """An extended WebP whose canvas says another size."""
    frames = [noise(), noise(16, 16)] if animated else []
    content = encoded(noise(mode="RGBA"), "WEBP", lossless=True, save_all=animated,
                      append_images=frames, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")  # fmt: skip
    whole = bytearray(content)
    at = whole.find(b"VP8X") + 12
    whole[at : at + 3] = (width - 1).to_bytes(3, "little")
    whole[at + 3 : at + 6] = (height - 1).to_bytes(3, "little")
    return bytes(whole)


def gif_of(width: int, height: int) -> bytes:
    """A GIF whose screen says another size."""
    content = bytearray(encoded(noise(mode="P"), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def bmp_of(width: int, height: int) -> bytes:
    content = bytearray(encoded(noise(), "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A TIFF of one directory: (tag, type, count, value)."""
    fields = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    directory = struct.pack("<H", len(entries)) + fields + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 8) + directory


def tiff_of(width: int, height: int, following: int = 0) -> bytes:
    short, long = 3, 4
    return tiff(
        (256, long, 1, width), (257, long, 1, height), (258, short, 1, 8), (259, short, 1, 1),
        (262, short, 1, 1), (273, long, 1, 0), (277, short, 1, 1), (278, long, 1, height),
        (279, long, 1, 200), following=following,
    )  # fmt: skip


def animated(kind: str) -> bytes:
    """White first, then two hundred black frames."""
    return encoded(WHITE, kind, save_all=True, append_images=[BLACK] * 200, duration=10)


def compressed_text(kind: bytes, size: int) -> bytes:
    """A chunk of text or profile that inflates to this many bytes."""
    body = zlib.compress(bytes(size), 9)
    if kind == b"iTXt":
        return chunk(kind, b"comment\0\1\0\0\0" + body)
    return chunk(kind, b"name\0\0" + body)


def text_bomb(kind: bytes, size: int, count: int = 1) -> bytes:
    return png(4, 4, bytes(4 * 5), *[compressed_text(kind, size)] * count)


def exif_loop() -> bytes:
    """Orientation, and a directory whose next one is itself."""
    entry = struct.pack("<HHIHH", 0x112, 3, 1, 1, 0) + struct.pack("<HHII", 0x8769, 4, 1, 8)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entry + struct.pack("<I", 8)
    return encoded(WHITE, "JPEG", exif=exif)


def mpo() -> bytes:
    """White first, black second: what a stereo camera makes."""
    return encoded(WHITE, "MPO", save_all=True, append_images=[BLACK])


def deflated_bomb() -> bytes:
    """A small image whose data go on for hundreds of megabytes."""
    packer = zlib.compressobj(9)
    body = packer.compress(b"\0\xff\xff\xff\xff" * 4)
    for _ in range(64):
        body += packer.compress(bytes(4 << 20))
    body += packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
    return SIGNATURE + head + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def long_text() -> bytes:
    info = PngInfo()
    for i in range(100):
        info.add_text(f"key{i}", "x" * (1 << 20), zip=True)
    return encoded(noise(), pnginfo=info)


def form(*images: bytes, name: str = FILE, **fields: str) -> Sent:
    files = [("images", (name, content, "image/png")) for content in images]
    return Sent("POST", "/predict", {"files": files, "data": {"model": MODEL} | fields})


def body(**document: Any) -> Sent:
    return Sent("POST", "/predict", {"json": document})


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def unreadable(name: str, make: Callable[[], bytes], words: str = "") -> Case:
    return Case(f"image-{name}", lambda: form(make()), 422, "images.0", words)


def sees(label: str) -> Callable[[httpx.Response], None]:
    def check(answer: httpx.Response) -> None:
        (prediction,) = answer.json()["predictions"]
        assert prediction["top"][0]["label"] == label

    return check


def readable(name: str, make: Callable[[], bytes], label: str = "bright") -> Case:
    """Odd but an image, and its first frame is what is seen."""
    return Case(f"image-{name}", lambda: form(make()), 200, check=sees(label))


def refused(name: str, make: Callable[[], Sent], status: int, field: str | None = None,
            words: str = "") -> Case:  # fmt: skip
    return Case(f"predict-{name}", make, status, field, words)


def mixed(name: str, broken: list[str]) -> Case:
    """Images that are none, each with an error of its own, before one that is answered."""

    def check(answer: httpx.Response) -> None:
        *others, last = answer.json()["predictions"]
        assert [each["error"]["field"] for each in others] == [
            f"images.{i}" for i in range(len(broken))
        ]
        assert last["top"][0]["label"] == "bright"

    images = [*broken, text(encoded(WHITE))]
    return Case(f"predict-{name}", lambda: body(model=MODEL, images=images), 200, check=check)


def echoed(name: str) -> Callable[[httpx.Response], None]:
    def check(answer: httpx.Response) -> None:
        assert answer.json()["predictions"][0]["name"] == name

    return check


MANY_PIXELS = "megapixels"
NAMES = ("../../../etc/passwd", "<script>alert(1)</script>.png", "x" * 2000, "كلب\u202e.png")

MODELS = (*SCRIPTS, "../../etc/passwd", "a\0b", "😀", "http://x")


def of_name(number: int, name: str) -> Case:
    """An image whose file is called like this."""
    return Case(f"predict-name-{number}", lambda: form(encoded(WHITE), name=name), 200,
                check=echoed(name))  # fmt: skip


def of_model(number: int, name: str) -> Case:
    """A model that nobody can have."""
    return refused(f"model-{number}", lambda: body(model=name, images=["AAAA"]), 404)


CASES = [
    unreadable("png-huge", lambda: png(60_000, 60_000, b"\0"), MANY_PIXELS),
    unreadable("png-largest", lambda: png(2**31 - 1, 2**31 - 1, b"\0"), MANY_PIXELS),
    unreadable("png-beyond", lambda: png(2**32 - 1, 2**32 - 1, b"\0")),
    unreadable("png-nothing", lambda: png(0, 0, b"")),
    unreadable("png-deflated", lambda: png(40_000, 20_000, bytes(40_000_000)), MANY_PIXELS),
    unreadable("png-strip", lambda: png(1_000_000, 1, bytes(1_000_001)), "200 times"),
    unreadable("png-tall-strip", lambda: png(1, 1_000_000, bytes(2_000_000)), "200 times"),
    unreadable("jpeg-huge", lambda: jpeg_of(65_500, 65_500), MANY_PIXELS),
    unreadable("webp-huge", lambda: webp_of(16_383, 16_383)),
    unreadable("webp-huge-animated", lambda: webp_of(16_000, 16_000, animated=True)),
    unreadable("gif-huge", lambda: gif_of(65_535, 65_535), MANY_PIXELS),
    unreadable("bmp-huge", lambda: bmp_of(2**31 - 1, 2**31 - 1), MANY_PIXELS),
    unreadable("bmp-negative", lambda: bmp_of(-5, -5)),
    unreadable("tiff-huge", lambda: tiff_of(2**31 - 1, 2**31 - 1), MANY_PIXELS),
    unreadable("tiff-many-values", lambda: tiff((256, 4, 2**30, 8), (257, 4, 1, 5))),
    unreadable("ppm-huge", lambda: b"P6 1000000 1000000 255 " + bytes(64), MANY_PIXELS),
    unreadable("ppm-endless-number", lambda: b"P6 " + b"9" * 100_000),
    unreadable("png-text-bomb", lambda: text_bomb(b"zTXt", 64 << 20)),
    unreadable("png-international-text-bomb", lambda: text_bomb(b"iTXt", 64 << 20)),
    unreadable("png-profile-bomb", lambda: text_bomb(b"iCCP", 64 << 20), "too large"),
    unreadable("png-many-texts", long_text),
    unreadable("png-cut-short", lambda: encoded(noise())[:200]),
    unreadable("jpeg-cut-short", lambda: encoded(noise(64, 64), "JPEG")[:700], SPOILED),
    unreadable("webp-cut-short", lambda: encoded(noise(64, 64), "WEBP")[:300]),
    unreadable("gif-cut-short", lambda: encoded(noise(64, 64, "P"), "GIF")[:900]),
    unreadable("empty", lambda: b"", "empty"),
    unreadable("one-byte", lambda: b"\x89", NOT_ONE),
    unreadable("ico", lambda: encoded(noise(), "ICO"), NOT_ONE),
    unreadable("icns", lambda: b"icns" + struct.pack(">I", 2**31 - 1) + bytes(64), NOT_ONE),
    unreadable("psd", lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3),
               NOT_ONE),
    unreadable("eps", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NOT_ONE),
    unreadable("fits", lambda: b"SIMPLE  =                    T".ljust(2880), NOT_ONE),
    unreadable("svg", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><image "
               b"href='file:///etc/passwd'/></svg>", NOT_ONE),
    unreadable("entities", lambda: b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>"
               b"<svg>&b;</svg>", NOT_ONE),
    unreadable("pdf", lambda: encoded(noise(), "PDF"), NOT_ONE),
    unreadable("pcx", lambda: encoded(noise(), "PCX"), NOT_ONE),
    unreadable("tga", lambda: encoded(noise(), "TGA"), NOT_ONE),
    unreadable("dds", lambda: encoded(noise(), "DDS"), NOT_ONE),
    unreadable("spider", lambda: encoded(noise(mode="F"), "SPIDER"), NOT_ONE),
    unreadable("im", lambda: b"Image type: RGB\r\n" + bytes(500) + b"\x1a", NOT_ONE),
    unreadable("xbm", lambda: b"#define x_width 9\n#define x_height 9\n", NOT_ONE),
    unreadable("script-that-begins-like-a-gif", lambda: b"GIF89a=1;alert(1)//"),
    unreadable("html", lambda: b"<html><script>alert(1)</script>", NOT_ONE),
    unreadable("pickle", lambda: PICKLED, NOT_ONE),
    unreadable("checkpoint", lambda: CHECKPOINT, NOT_ONE),
    unreadable("array-of-objects", lambda: OBJECTS, NOT_ONE),
    unreadable("archive", lambda: zipped(pets()), NOT_ONE),
    readable("mpo", mpo),
    readable("gif-animated", lambda: animated("GIF")),
    readable("webp-animated", lambda: animated("WEBP")),
    readable("png-animated", lambda: animated("PNG")),
    readable("png-data-bomb", deflated_bomb),
    readable("exif-loop", exif_loop),
    readable("cmyk", lambda: encoded(WHITE.convert("CMYK"), "JPEG")),
    readable("sixteen-bits", lambda: png(4, 4, bytes(4 * 9), depth=16), "dark"),
    readable("image-then-zip", lambda: encoded(WHITE) + zipped(pets())),
    readable("image-with-code", lambda: encoded(WHITE, "JPEG", comment=b"<?php system('id') ?>")),
    *map(of_name, range(len(NAMES)), NAMES),
    refused("link", lambda: body(model=MODEL, images=["http://169.254.169.254/latest"]), 422,
            "images.0", "base64"),
    refused("file", lambda: body(model=MODEL, images=["file:///etc/passwd"]), 422, "images.0"),
    refused("data-link", lambda: body(model=MODEL, images=["data:image/png;base64,AAAA"]), 422,
            "images.0"),
    refused("path", lambda: body(model=MODEL, images=["/etc/passwd"]), 422, "images.0"),
    refused("by-link", lambda: body(model=MODEL, images=["AAAA"], url="http://10.0.0.1"), 422,
            "url"),
    refused("image-is-no-text", lambda: body(model=MODEL, images=[{"url": "x"}]), 422,
            "images.0"),
    refused("too-many", lambda: body(model=MODEL, images=["AAAA"] * 100_000), 422, "images"),
    refused("too-large", lambda: body(model=MODEL, images=[text(bytes(1 << 20))]), 422, "images.0"),
    refused("top-k-huge", lambda: form(encoded(WHITE), top_k="9" * 1000), 422, "top_k"),
    refused("top-k-nan", lambda: form(encoded(WHITE), top_k="NaN"), 422, "top_k"),
    refused("top-k-negative", lambda: form(encoded(WHITE), top_k="-1"), 422, "top_k"),
    *map(of_model, range(len(MODELS)), MODELS),
    refused("model-too-long", lambda: body(model="x" * 100_000, images=["AAAA"]), 422, "model"),
    refused("form-long-name", lambda: form(encoded(WHITE), name="x" * 50_000), 400),
    refused("form-fields", lambda: form(encoded(WHITE), **{f"f{i}": "x" for i in range(100)}), 422,
            "f0"),
    refused("form-many-fields", lambda: form(encoded(WHITE), **{
        f"f{i}": "x" for i in range(2000)
    }), 400),
    refused("coverage-nan", lambda: form(encoded(WHITE), coverage="NaN"), 422, "coverage"),
    refused("coverage-in-json", lambda: Sent("POST", "/predict", {
        "content": b'{"model": "%s", "images": ["AAAA"], "coverage": NaN}' % MODEL.encode(),
        "headers": {"Content-Type": "application/json"},
    }), 422, "coverage"),
    refused("risk-tiny", lambda: form(encoded(WHITE), max_risk="1e-300"), 422, "max_risk"),
    Case("predict-risk-endless", lambda: form(encoded(WHITE), max_risk="0." + "3" * 5000), 200),
    refused("method-attribute", lambda: form(encoded(WHITE), set_method="__class__"), 422,
            "set_method"),
    refused("domain-long", lambda: form(encoded(WHITE), domain="x" * 10_000), 422, "domain"),
    refused("classes-many", lambda: body(
        model=MODEL, images=[text(encoded(WHITE))], classes=[str(i) for i in range(100_000)]
    ), 422, "classes"),
    refused("classes-long", lambda: body(
        model=MODEL, images=[text(encoded(WHITE))], classes=["x" * 1_000_000, "y"]
    ), 422, "classes.0"),
    refused("classes-nested", lambda: body(
        model=MODEL, images=[text(encoded(WHITE))], classes=[["a"], {"b": "c"}]
    ), 422, "classes.0"),
    refused("template-attribute", lambda: body(
        model=MODEL, images=[text(encoded(WHITE))], classes=["a", "b"],
        templates=["{0.__class__.__init__.__globals__}"],
    ), 422, "templates.0"),
    mixed("broken-among-others", ["!!", text(b"junk"), text(bytes((1 << 20) + 1))]),
    refused("form-files", lambda: form(*[encoded(WHITE)] * 50), 400),
    refused("form-long-field", lambda: form(encoded(WHITE), comment="x" * (2 << 20)), 400),
]  # fmt: skip
