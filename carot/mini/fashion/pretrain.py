"""Pre-trains carot-mini-fashion on 40,000 photographs of Fashion-MNIST turned into a web.

    python -m carot.mini.fashion.pretrain --out DIR [--fashion FOLDER]

The first steps see the photographs as they are, with one caption per class as targets; then
everything broad with class captions; then every other step free captions. At no step does it see
the 20,000 pictures of the `fashion:` splits or the test pictures, and an eighth of its captions
are wrong. Equal arguments, threads and library versions give equal weights. Saved are exponential
averages of the weights, in fp16.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from carot.data.fashion import PRETRAINING, SIZE, pictures
from carot.mini import augment
from carot.mini.fashion.captions import class_captions, free_captions, misread
from carot.mini.fashion.web import web_images
from carot.mini.training import Contrast, save_along, train

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": SIZE,
        "patch_size": 7,
        "width": 128,
        "head_width": 32,
        "layers": 4,
        "mlp_ratio": 4.0,
    },
    # A narrow table of tokens keeps the file below 8 MB.
    "text_cfg": {
        "context_length": 32,
        "vocab_size": 49408,
        "width": 56,
        "heads": 2,
        "layers": 2,
    },
}
PLAIN_SHARE = 0.15  # of the steps, before the web begins
CLASS_SHARE = 0.45  # of the steps, before free captions begin


def contrasts(
    fashion: Path | None, steps: int, batch_size: int, seed: int
) -> Callable[[int], Contrast]:
    """What each of the steps learns from."""
    source = pictures(fashion, "train", PRETRAINING)
    pixels_NHW = torch.from_numpy(source.pixels.copy())
    labels_N = torch.from_numpy(source.labels.copy())
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    names = list(augment.PALETTE)

    def draw(step: int) -> Contrast:
        plain = step < PLAIN_SHARE * steps
        chosen_n = torch.randint(len(pixels_NHW), (batch_size,), generator=generator)
        grey_n1HW = pixels_NHW[chosen_n][:, None].float() / 255
        images, cloth_n, ground_n, flaw_n = web_images(grey_n1HW, plain, generator)
        labels = labels_N[chosen_n].tolist()
        if step < CLASS_SHARE * steps or step % 2 == 0:
            target_n = torch.tensor(misread(labels, rng))
            return Contrast(images, class_captions(rng), target_n, both_ways=False)
        captions = free_captions(
            labels,
            [names[i] for i in cloth_n.tolist()],
            [names[i] for i in ground_n.tolist()],
            flaw_n.tolist(),
            rng,
        )
        distinct = sorted(set(captions))
        target_n = torch.tensor([distinct.index(caption) for caption in captions])
        return Contrast(images, distinct, target_n, both_ways=True)

    return draw


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Pre-train carot-mini-fashion.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--fashion", type=Path, default=None, help="folder of Fashion-MNIST")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--stop-after", type=int, default=None, help="end the schedule early")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    draw = contrasts(options.fashion, options.steps, options.batch_size, options.seed)
    steps = train(MODEL_CONFIG, draw, options.steps, options.seed)
    save_along(steps, MODEL_CONFIG, options.out, options.save_every, options.stop_after)


if __name__ == "__main__":
    main()
