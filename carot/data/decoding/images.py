"""Turns bytes into an RGB image, or says why they are none. The only place that decodes images.

Numbers of more than eight bits are scaled to eight (`carot.data.decoding.depth`); what is
transparent is composed on white, or on black where that would leave no contrast.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, PngImagePlugin

from carot.data.decoding.depth import GREY, UNKNOWN, Depth, is_deep
from carot.data.decoding.orientation import upright
from carot.errors import UnreadableImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""What Pillow may try. Exotic formats are where decoders have their holes."""

SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif",
        ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif",
    }
)  # fmt: skip
"""File name endings, lower case, with which a file is an image before it is opened."""

MAX_PIXELS = 40_000_000
"""Refused above this before any pixel is decoded: 40 megapixels take 120 MB as RGB."""

MAX_ASPECT = 200
"""Refused above this: scaled by its shorter side, a strip one pixel high is gigabytes long."""

FAINT = 8
"""Levels of 255: an image that spans fewer in every channel has no contrast."""

TOO_MUCH_MEMORY = "decoding it takes more memory than an image may have"

# Pillow's own limit only warns at first, and filtering warnings is not safe in threads.
Image.MAX_IMAGE_PIXELS = None
# Colour profiles and notes of editors pass Pillow's limit of 1 MiB. All texts together have 64.
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20


def decode_image(source: bytes | Path | BinaryIO, name: str, depth: Depth = UNKNOWN) -> Image.Image:
    """Decode the first frame of an image, upright (EXIF) and as RGB of eight bits.

    Args:
        source: the encoded bytes, a path, or a binary file.
        name: what to call the image in an error.
        depth: what the numbers of the images span that it belongs to, where that is known.

    Raises:
        UnreadableImage: not one of `FORMATS`, empty, cut short, above `MAX_PIXELS`, or longer than
            `MAX_ASPECT` times its width.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with Image.open(stream, formats=FORMATS) as image:
            check_size(image, name)
            if is_deep(image):
                return to_rgb(_scaled(image, source, depth))
            image.load()
            return to_rgb(upright(image), depth)
    except UnreadableImage:
        raise
    # A decoder meets arbitrary bytes: whatever it raises means the same to the caller.
    except Exception as error:
        raise UnreadableImage(name, _reason(source, error)) from error


def has_contrast(image: Image.Image) -> bool:
    """Whether an RGB image spans at least `FAINT` levels in some channel."""
    return _contrast(image) >= FAINT


def to_rgb(image: Image.Image, depth: Depth = UNKNOWN) -> Image.Image:
    """A decoded image as RGB of eight bits."""
    if image.mode in GREY:
        from carot.data.decoding.deep_files import scaled  # see `_scaled`

        return scaled(image, depth).convert("RGB")
    if image.has_transparency_data:
        return _composed(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")  # a copy takes its time


def _scaled(
    image: ImageFile.ImageFile, source: bytes | Path | BinaryIO, depth: Depth
) -> Image.Image:
    """A deep image in eight bits."""
    # Imported late: it brings numpy, which no other image needs.
    from carot.data.decoding.deep_files import samples_of

    return Image.fromarray(samples_of(image, source).eight_bits(depth))


def _composed(image: Image.Image) -> Image.Image:
    """An RGBA image on white; on black where it has no contrast on white, but there."""
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    on_white, on_black = (_on(image, colour) for colour in ("white", "black"))
    fades = _contrast(on_white) < FAINT <= _contrast(on_black)
    return on_black if fades else on_white


def _on(image: Image.Image, colour: str) -> Image.Image:
    ground = Image.new("RGBA", image.size, colour)
    return Image.alpha_composite(ground, image).convert("RGB")


def _contrast(image: Image.Image) -> int:
    """Levels that the widest channel of an RGB image spans."""
    spans = [band.getextrema() for band in image.split()]
    return max(int(high) - int(low) for low, high in spans)  # type: ignore[arg-type]


def load_formats() -> None:
    """Import all of Pillow's decoders, for a process that soon has no memory or files to spare."""
    Image.init()


def check_size(image: Image.Image, name: str) -> None:
    """Refuse an opened but not yet decoded image beyond `MAX_PIXELS` or `MAX_ASPECT`."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            name,
            f"{width}x{height} pixels are more than the {MAX_PIXELS // 1_000_000} megapixels "
            "that are accepted",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UnreadableImage(
            name, f"{width}x{height} pixels: a side is more than {MAX_ASPECT} times the other"
        )


def _reason(source: bytes | Path | BinaryIO, error: Exception) -> str:
    if isinstance(source, bytes) and not source:
        return "the file is empty"
    if isinstance(source, Path) and source.is_file() and source.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, MemoryError):
        return TOO_MUCH_MEMORY
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if "cannot identify" in str(error):
        return f"not one of {', '.join(FORMATS)}"
    return str(error) or type(error).__name__
