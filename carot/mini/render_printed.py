"""Renders the bundled printed digits from the fonts that pre-training does not see.

python -m carot.mini.render_printed --out carot/data/assets/printed_digits.npz
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from carot.mini.glyphs import find_fonts, held_out_family, render_digit, render_fonts

SIZE = 32
MOST_STYLES = 6  # of one family, so that no family makes up the set
LEAST_PEAK = 160  # a hairline that stays fainter than this at SIZE pixels cannot be read


def choose_fonts() -> list[Path]:
    """Up to MOST_STYLES distinct, legible fonts of each held-out family."""
    candidates = [path for path in find_fonts() if held_out_family(path)]
    masks_F10HW, fonts = render_fonts(candidates, SIZE)
    taken: Counter[str | None] = Counter()
    chosen = []
    for digits_10HW, path in zip(masks_F10HW, fonts, strict=True):
        family = held_out_family(path)
        if digits_10HW.max(axis=(1, 2)).min() >= LEAST_PEAK and taken[family] < MOST_STYLES:
            taken[family] += 1
            chosen.append(path)
    return chosen


def render(fonts: Sequence[Path], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Ten digits of each font, of varied size and place.

    Returns:
        pixels (N, SIZE, SIZE), white on black, and labels (N,).
    """
    rng = np.random.default_rng(seed)
    pixels, labels = [], []
    for path in fonts:
        font = ImageFont.truetype(str(path), 96)
        for digit in range(10):
            mask = render_digit(font, digit, SIZE, fill=rng.uniform(0.6, 0.9))
            if mask is None:
                raise ValueError(f"{path.name} draws no {digit}")
            shift = rng.integers(-1, 2, size=2)
            pixels.append(np.roll(mask, tuple(shift), axis=(0, 1)))  # the margin is wider than 1
            labels.append(digit)
    return np.stack(pixels), np.array(labels, dtype=np.uint8)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Render the bundled printed digits.")
    parser.add_argument("--out", type=Path, required=True, help="the npz to write")
    options = parser.parse_args(arguments)
    fonts = choose_fonts()
    pixels, labels = render(fonts)
    np.savez_compressed(options.out, pixels=pixels, labels=labels)
    print(f"{len(labels)} digits of {len(fonts)} fonts: {', '.join(path.stem for path in fonts)}")


if __name__ == "__main__":
    main()
