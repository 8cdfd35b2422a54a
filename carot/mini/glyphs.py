"""Digits in the fonts of this machine, as masks.

The fonts are whatever is installed; `font_packages.txt` beside this file lists the Debian packages
that were there when the shipped weights were made. Families in `HELD_OUT` are kept from
pre-training: the bundled printed digits are rendered from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from carot.mini.strokes import MASK_SIZE

FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/share/texmf/fonts"))

# Beginnings of file names, lower case and without spaces, hyphens and underscores. Carlito is
# here because it was drawn after Lato.
HELD_OUT = (
    "lato", "carlito", "vollkorn", "comicneue", "inconsolata", "cabin", "ebgaramond", "jura",
    "firacode", "quicksand", "play", "caladea", "b612", "notoserifdisplay", "overlock", "averia",
    "notosansmono", "courierprime", "andika",
)  # fmt: skip


def _folded(path: Path) -> str:
    return path.stem.lower().replace("-", "").replace("_", "").replace(" ", "")


def held_out_family(path: Path) -> str | None:
    """The family of a font that pre-training must not see, or None for all others."""
    name = _folded(path)
    return next((family for family in HELD_OUT if name.startswith(family)), None)


def find_fonts(folders: Iterable[Path] = FONT_FOLDERS) -> list[Path]:
    """All TrueType, OpenType and Type 1 fonts under the folders, sorted by name."""
    endings = {".ttf", ".otf", ".pfb"}
    found = [p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in endings]
    return sorted(found, key=lambda path: (path.name, str(path)))


def render_digit(
    font: ImageFont.FreeTypeFont, digit: int, size: int, fill: float = 0.75
) -> NDArray[np.uint8] | None:
    """One digit centred in a (size, size) mask, its longer side taking up `fill` of it.

    Returns:
        the mask, or None where the font draws nothing.
    """
    left, top, right, bottom = font.getbbox(str(digit))
    if right - left < 2 or bottom - top < 2:
        return None
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), str(digit), fill=255, font=font)
    box = canvas.getbbox()
    if box is None:
        return None
    glyph = canvas.crop(box)
    scale = fill * size / max(glyph.size)
    width, height = (max(1, round(side * scale)) for side in glyph.size)
    mask = Image.new("L", (size, size))
    glyph = glyph.resize((width, height), Image.Resampling.BOX)
    mask.paste(glyph, ((size - width) // 2, (size - height) // 2))
    return np.asarray(mask)


def render_font(path: Path, size: int = MASK_SIZE) -> NDArray[np.uint8] | None:
    """The ten digits of a font as (10, size, size), or None if it lacks any or repeats one."""
    try:
        font = ImageFont.truetype(str(path), 96)
        digits = [render_digit(font, digit, size) for digit in range(10)]
    except (OSError, ValueError):  # a damaged font, or one of a kind that Pillow cannot read
        return None
    masks = [mask for mask in digits if mask is not None]
    if len(masks) < 10 or len({mask.tobytes() for mask in masks}) < 10:
        return None
    return np.stack(masks)


def render_fonts(
    paths: Sequence[Path], size: int = MASK_SIZE
) -> tuple[NDArray[np.uint8], list[Path]]:
    """The digits of every usable font, each distinct rendering once.

    Returns:
        masks (F, 10, size, size) and the F fonts they come from.
    """
    masks, fonts, seen = [], [], set()
    for path in paths:
        digits = render_font(path, size)
        if digits is None:
            continue
        fingerprint = hashlib.sha256((digits > 127).tobytes()).digest()
        if fingerprint not in seen:
            seen.add(fingerprint)
            masks.append(digits)
            fonts.append(path)
    if not masks:
        return np.zeros((0, 10, size, size), dtype=np.uint8), []
    return np.stack(masks), fonts


def drop_odd_fonts(masks_F10HW: NDArray[np.uint8], least: int = 6) -> NDArray[np.bool_]:
    """Which fonts draw digits at all, rather than pictures or another script's signs.

    Each glyph is compared with the mean glyph of every digit over all fonts; a font stays if at
    least `least` of its ten are nearest to their own digit's mean. Two rounds, the second with
    the means of the fonts that stayed.

    Returns:
        (F,) booleans.
    """
    keep = np.ones(len(masks_F10HW), dtype=bool)
    glyphs = masks_F10HW.reshape(len(masks_F10HW), 10, -1).astype(np.float32)
    glyphs -= glyphs.mean(axis=2, keepdims=True)
    glyphs /= np.linalg.norm(glyphs, axis=2, keepdims=True) + 1e-6
    for _ in range(2):
        means = glyphs[keep].mean(axis=0)
        nearest = np.einsum("fdk,ck->fdc", glyphs, means).argmax(axis=2)
        keep = (nearest == np.arange(10)).sum(axis=1) >= least
    return keep
