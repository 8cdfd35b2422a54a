"""Turns a decoded image as its EXIF says."""

from __future__ import annotations

from PIL import ExifTags, Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """The image as it is to be looked at; as it is stored where its EXIF cannot be read.

    Not `ImageOps.exif_transpose`: it writes the EXIF anew, and fails over a damaged field that
    says nothing of the pixels.
    """
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    # The reader meets arbitrary bytes, and the pixels are whole.
    except Exception:  # noqa: BLE001
        return image
    return image if turn is None else image.transpose(turn)
