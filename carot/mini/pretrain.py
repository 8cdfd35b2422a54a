"""Pre-trains carot-mini on digits in fonts and digits of a procedural pen. No handwriting is read.

    python -m carot.mini.pretrain --out DIR

The first steps see white glyphs on black with one caption per class as targets: an earlier try that
started on coloured glyphs stayed at chance. Colours and flaws follow, and every third step then
contrasts images with captions that name their colours and flaws. Equal arguments, fonts, threads
and library versions give equal weights. Saved are exponential averages of the weights, in fp16.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carot.mini import augment
from carot.mini.captions import class_captions, free_captions
from carot.mini.glyphs import drop_odd_fonts, find_fonts, held_out_family, render_fonts
from carot.mini.strokes import pen_digits
from carot.mini.training import Contrast, save_along, train

CONTEXT_LENGTH = 32
MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 32,
        "patch_size": 4,
        "width": 96,
        "head_width": 32,
        "layers": 4,
        "mlp_ratio": 4.0,
    },
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 2,
    },
}
PEN_SHARE = 0.55  # of a batch; the rest is fonts
GRID_SHARE = {"pen": 0.7, "font": 0.4}  # of each, seen through 8 x 8 cells
WHITE_ON_BLACK_SHARE = 0.45  # once colours have begun
BLACK_ON_WHITE_SHARE = 0.15  # likewise; the rest has the palette's colours
PLAIN_SHARE = 0.18  # of the steps, before colours begin


@dataclass(frozen=True)
class Glyphs:
    """Masks (N, 1, H, W) uint8 and their digits (N,), of the fonts and of the pen."""

    font_masks: Tensor
    font_labels: Tensor
    pen_masks: Tensor
    pen_labels: Tensor


@dataclass(frozen=True)
class Batch:
    """Images (N, 3, 32, 32) in [0, 1] with what their captions may say, each (N,)."""

    images_NCHW: Tensor
    labels_N: Tensor
    ink_N: Tensor
    ground_N: Tensor
    flaw_N: Tensor


def load_glyphs(pen_per_digit: int, seed: int, most_fonts: int | None = None) -> Glyphs:
    """Renders every installed font that is not held out, and draws the pen's digits."""
    paths = [path for path in find_fonts() if held_out_family(path) is None][:most_fonts]
    masks_F10HW, _ = render_fonts(paths)
    if len(masks_F10HW) > 20:  # fewer have no consensus to compare with
        masks_F10HW = masks_F10HW[drop_odd_fonts(masks_F10HW)]
    fonts, _, height, width = masks_F10HW.shape
    pen_masks, pen_labels = pen_digits(pen_per_digit, seed)
    return Glyphs(
        torch.from_numpy(masks_F10HW.reshape(fonts * 10, 1, height, width)),
        torch.arange(10).repeat(fonts),
        torch.from_numpy(pen_masks)[:, None],
        torch.from_numpy(pen_labels),
    )


def _draw_masks(glyphs: Glyphs, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Warped masks (N, 1, 32, 32) and labels (N,), pen and fonts mixed."""
    pens = round(size * PEN_SHARE) if len(glyphs.font_masks) else size
    pen_n = torch.randint(len(glyphs.pen_masks), (pens,), generator=generator)
    masks, labels, grids = [glyphs.pen_masks[pen_n].float() / 255], [glyphs.pen_labels[pen_n]], []
    grids.append(torch.rand(pens, generator=generator) < GRID_SHARE["pen"])
    if size > pens:
        font_n = torch.randint(len(glyphs.font_masks), (size - pens,), generator=generator)
        masks.append(augment.thicken(glyphs.font_masks[font_n].float() / 255, generator))
        labels.append(glyphs.font_labels[font_n])
        grids.append(torch.rand(size - pens, generator=generator) < GRID_SHARE["font"])
    grid_N = torch.cat(grids)
    filling_N = grid_N | (torch.rand(size, generator=generator) < 0.3)
    warped_N1HW = augment.warp(torch.cat(masks), filling_N, generator)
    return augment.through_grid(warped_N1HW, grid_N), torch.cat(labels)


def draw_batch(glyphs: Glyphs, size: int, plain: bool, generator: torch.Generator) -> Batch:
    """A fresh batch: white on black without flaws if `plain`, else of all kinds."""
    masks_N1HW, labels_N = _draw_masks(glyphs, size, generator)
    names = list(augment.PALETTE)
    black, white = names.index("black"), names.index("white")
    ink_N, ground_N, ink_N3, ground_N3 = augment.draw_colours(size, generator)
    style_N = torch.rand(size, generator=generator)
    flaw_N = (torch.randint(9, (size,), generator=generator) - 4).clamp(min=0)
    if plain:
        style_N, flaw_N = torch.zeros(size), torch.zeros(size, dtype=torch.long)
    usual_N = style_N < WHITE_ON_BLACK_SHARE
    inverse_N = ~usual_N & (style_N < WHITE_ON_BLACK_SHARE + BLACK_ON_WHITE_SHARE)
    for chosen_N, ink, ground in ((usual_N, white, black), (inverse_N, black, white)):
        ink_N[chosen_N], ground_N[chosen_N] = ink, ground
        ink_N3[chosen_N], ground_N3[chosen_N] = float(ink == white), float(ground == white)
    images_NCHW = augment.paint(masks_N1HW, ink_N3, ground_N3)
    return Batch(augment.spoil(images_NCHW, flaw_N, generator), labels_N, ink_N, ground_N, flaw_N)


def describe(batch: Batch, rng: np.random.Generator) -> tuple[list[str], Tensor]:
    """The distinct captions of a batch and which of them belongs to each image (N,)."""
    names = list(augment.PALETTE)
    captions = free_captions(
        batch.labels_N.tolist(),
        [names[i] for i in batch.ink_N.tolist()],
        [names[i] for i in batch.ground_N.tolist()],
        batch.flaw_N.tolist(),
        rng,
    )
    distinct = sorted(set(captions))
    return distinct, torch.tensor([distinct.index(caption) for caption in captions])


def contrasts(glyphs: Glyphs, steps: int, batch_size: int, seed: int) -> Callable[[int], Contrast]:
    """What each of the steps learns from: plain glyphs first, then every third of free captions."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)

    def draw(step: int) -> Contrast:
        plain = step < PLAIN_SHARE * steps
        batch = draw_batch(glyphs, batch_size, plain, generator)
        free = not plain and step % 3 == 2
        captions, target_N = describe(batch, rng) if free else (class_captions(rng), batch.labels_N)
        return Contrast(batch.images_NCHW, captions, target_N, both_ways=free)

    return draw


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Pre-train carot-mini on rendered glyphs.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--steps", type=int, default=3200)
    parser.add_argument("--stop-after", type=int, default=None, help="end the schedule early")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--pen-per-digit", type=int, default=4000, help="drawings, made once")
    parser.add_argument("--most-fonts", type=int, default=None, help="default: all installed")
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    options = parser.parse_args(arguments)
    glyphs = load_glyphs(options.pen_per_digit, options.seed, options.most_fonts)
    print(f"{len(glyphs.font_masks)} font glyphs, {len(glyphs.pen_masks)} pen drawings", flush=True)
    draw = contrasts(glyphs, options.steps, options.batch_size, options.seed)
    steps = train(MODEL_CONFIG, draw, options.steps, options.seed, options.compile)
    save_along(steps, MODEL_CONFIG, options.out, options.save_every, options.stop_after)


if __name__ == "__main__":
    main()
