"""What a training step gains by cutting captions at the longest and encoding equal ones once.

    python benchmarks/text_savings.py [--architecture ViT-B-32] [--batch 32] [--classes 10]

Times forward and backward of the contrastive loss with random weights, on this machine, four ways
in turn: neither saving, either alone, both. Prints the median of each, its ratio to neither, and
the loss, which is the same for all. A sample's caption is one of `--templates` of open_clip's
ImageNet templates for one of `--classes` class names, drawn as in training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from carot.models.clip import ClipModel, from_config
from carot.models.prompts import Captions
from carot.training.losses import contrastive_loss

WAYS = {"neither": (False, False), "cut": (True, False), "unique": (False, True),
        "both": (True, True)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--templates", type=int, default=80, help="of open_clip's 80")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("build/text_savings.json"))
    options = parser.parse_args()
    torch.manual_seed(0)
    model = from_config(open_clip.get_model_config(options.architecture))
    templates = tuple(t("{}") for t in open_clip.OPENAI_IMAGENET_TEMPLATES[: options.templates])
    captions = Captions(model, open_clip.IMAGENET_CLASSNAMES[: options.classes], templates)
    drawn_B = torch.randint(len(captions.tokens_UL), (options.batch,))
    images_NCHW = torch.randn(options.batch, 3, *model.image_size)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    losses: dict[str, float] = {}
    for turn in range(options.rounds + 1):
        for way, (cut, unique) in WAYS.items():
            started = time.perf_counter()
            losses[way] = step(model, images_NCHW, captions, drawn_B, cut=cut, unique=unique)
            if turn > 0:  # the first is warm-up
                seconds[way].append(time.perf_counter() - started)
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    distinct = len(drawn_B.unique())
    print(f"{options.architecture}, batch {options.batch}, {distinct} distinct captions, "
          f"{torch.get_num_threads()} threads, {options.rounds} rounds")  # fmt: skip
    print(f"{'':10}{'median s':>10}{'neither / this':>16}{'loss':>12}")
    for way, median in medians.items():
        ratio = medians["neither"] / median
        print(f"{way:10}{median:10.2f}{ratio:16.2f}{losses[way]:12.6f}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    document = {"options": vars(options) | {"json": str(options.json)}, "seconds": seconds}
    options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def step(
    model: ClipModel,
    images_NCHW: Tensor,
    captions: Captions,
    drawn_B: Tensor,
    *,
    cut: bool,
    unique: bool,
) -> float:
    """The loss of one step, after its backward pass."""
    model.module.zero_grad(set_to_none=True)
    tokens_UL, position_B = captions.tokens(drawn_B)
    if not unique:
        tokens_UL, position_B = tokens_UL[position_B], torch.arange(len(drawn_B))
    if cut:
        text_UD = model.encode_captions(tokens_UL)
    else:
        text_UD = F.normalize(model.module.encode_text(tokens_UL), dim=-1)  # type: ignore[operator]
    loss = contrastive_loss(
        model.encode_images(images_NCHW), text_UD[position_B], model.logit_scale.exp()
    )
    loss.backward()
    return float(loss.detach())


if __name__ == "__main__":
    main()
