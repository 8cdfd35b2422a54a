"""Pre-trains carot-mini on digits in fonts and digits of a procedural pen. No handwriting is read.

    python -m carot.mini.pretrain --out DIR

The first steps see white glyphs on black with one caption per class as targets: an earlier try that
started on coloured glyphs stayed at chance. Colours and flaws follow, and every third step then
contrasts images with captions that name their colours and flaws. Equal arguments, fonts, threads
and library versions give equal weights. Saved are exponential averages of the weights, in fp16.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from carot.mini import augment
from carot.mini.captions import class_captions, free_captions
from carot.mini.glyphs import drop_odd_fonts, find_fonts, held_out_family, render_fonts
from carot.mini.strokes import pen_digits

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
PREPROCESS_CONFIG: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
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


def class_loss(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Cross-entropy of images against the captions of all classes."""
    return F.cross_entropy(logits_NC, labels_N, label_smoothing=0.05)


def contrastive_loss(logits_NU: Tensor, target_N: Tensor) -> Tensor:
    """Images against the batch's U distinct captions, and captions against its N images."""
    to_text = F.cross_entropy(logits_NU, target_N)
    to_image = -logits_NU.log_softmax(dim=0).gather(1, target_N[:, None]).mean()
    return (to_text + to_image) / 2


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


def train(
    glyphs: Glyphs, steps: int, batch_size: int, seed: int, compiled: bool = False
) -> Iterator[tuple[int, float, dict[str, Tensor]]]:
    """Yields (step, loss, averaged weights) after every step. The weights change in place."""
    torch.manual_seed(seed)
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT_LENGTH)
    model = open_clip.CLIP(**deepcopy(MODEL_CONFIG))
    encode_image = torch.compile(model.encode_image) if compiled else model.encode_image
    # Matrices are decayed; the token table is not, or words never seen would fade to nothing.
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and "token_emb" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "token_emb" in n]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    average = {name: value.clone() for name, value in model.state_dict().items()}
    mean, std = PREPROCESS_CONFIG["mean"][0], PREPROCESS_CONFIG["std"][0]
    for step in range(steps):
        plain = step < PLAIN_SHARE * steps
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        batch = draw_batch(glyphs, batch_size, plain, generator)
        free = not plain and step % 3 == 2
        captions, target_N = describe(batch, rng) if free else (class_captions(rng), batch.labels_N)
        image_ND = F.normalize(encode_image((batch.images_NCHW - mean) / std), dim=-1)
        text_UD = model.encode_text(tokenizer(captions), normalize=True)
        logits_NU = model.logit_scale.exp() * image_ND @ text_UD.T
        loss = (contrastive_loss if free else class_loss)(logits_NU, target_N)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
            keep = min(0.998, (1 + step) / (10 + step))
            values = list(model.state_dict().values())
            torch._foreach_lerp_(list(average.values()), values, 1 - keep)
        yield step, loss.item(), average


def learning_rate(step: int, steps: int, peak: float = 1e-3) -> float:
    """Linear warm-up over 200 steps, then half a cosine to zero."""
    return peak * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * step / steps))


def save_model(weights: dict[str, Tensor], folder: Path) -> None:
    """Writes open_clip's local-dir layout: the config and the weights in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESS_CONFIG}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    halves = {name: value.half().contiguous() for name, value in weights.items()}
    (folder / "open_clip_model.safetensors").write_bytes(save(halves))


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
    started, losses = time.monotonic(), []
    for step, loss, weights in train(
        glyphs, options.steps, options.batch_size, options.seed, options.compile
    ):
        losses.append(loss)
        if (step + 1) % 100 == 0:
            seconds = time.monotonic() - started
            recent = sum(losses[-100:]) / 100
            print(f"step {step + 1}  loss {recent:.3f}  {seconds:.0f} s", flush=True)
        done = step + 1 == (options.stop_after or options.steps)
        if done or (step + 1) % options.save_every == 0:
            save_model(weights, options.out)
        if done:
            break


if __name__ == "__main__":
    main()
