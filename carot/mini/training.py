"""The loop that pre-trains a bundled model: contrast after contrast, averaged weights."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from carot.tensor_files import to_bytes

PREPROCESS_CONFIG: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


@dataclass(frozen=True)
class Contrast:
    """What one step learns from.

    Attributes:
        images_NCHW: values in [0, 1].
        captions: U distinct captions.
        target_N: which caption belongs to each image.
        both_ways: whether captions are also told apart by their images; not where the captions
            are those of all classes, of which some may have no image.
    """

    images_NCHW: Tensor
    captions: Sequence[str]
    target_N: Tensor
    both_ways: bool


def class_loss(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Cross-entropy of images against the captions of all classes."""
    return F.cross_entropy(logits_NC, labels_N, label_smoothing=0.05)


def contrastive_loss(logits_NU: Tensor, target_N: Tensor) -> Tensor:
    """Images against the batch's U distinct captions, and captions against its N images."""
    to_text = F.cross_entropy(logits_NU, target_N)
    to_image = -logits_NU.log_softmax(dim=0).gather(1, target_N[:, None]).mean()
    return (to_text + to_image) / 2


def train(
    model_config: dict[str, Any],
    draw: Callable[[int], Contrast],
    steps: int,
    seed: int,
    compiled: bool = False,
) -> Iterator[tuple[int, float, dict[str, Tensor]]]:
    """Yields (step, loss, averaged weights) after every step. The weights change in place.

    Args:
        draw: from a step's number to what it learns from.
    """
    torch.manual_seed(seed)
    tokenizer = open_clip.SimpleTokenizer(context_length=model_config["text_cfg"]["context_length"])
    model = open_clip.CLIP(**deepcopy(model_config))
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
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        contrast = draw(step)
        image_ND = F.normalize(encode_image((contrast.images_NCHW - mean) / std), dim=-1)
        text_UD = model.encode_text(tokenizer(list(contrast.captions)), normalize=True)
        logits_NU = model.logit_scale.exp() * image_ND @ text_UD.T
        loss = (contrastive_loss if contrast.both_ways else class_loss)(
            logits_NU, contrast.target_N
        )
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


def save_along(
    steps: Iterator[tuple[int, float, dict[str, Tensor]]],
    model_config: dict[str, Any],
    folder: Path,
    every: int,
    stop_after: int | None = None,
) -> None:
    """Run the steps of `train`, print how they go, and write the model now and then and at the end.

    Args:
        stop_after: steps after which to end, before the schedule does.
    """
    started, losses = time.monotonic(), []
    weights: dict[str, Tensor] = {}
    for step, loss, weights in islice(steps, stop_after):
        losses.append(loss)
        if (step + 1) % 100 == 0:
            seconds = time.monotonic() - started
            recent = sum(losses[-100:]) / 100
            print(f"step {step + 1}  loss {recent:.3f}  {seconds:.0f} s", flush=True)
        if (step + 1) % every == 0:
            save_model(weights, model_config, folder)
    save_model(weights, model_config, folder)


def save_model(weights: dict[str, Tensor], model_config: dict[str, Any], folder: Path) -> None:
    """Writes open_clip's local-dir layout: the configuration and the weights in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": model_config, "preprocess_cfg": PREPROCESS_CONFIG}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    halves = {name: value.half().contiguous() for name, value in weights.items()}
    (folder / "open_clip_model.safetensors").write_bytes(to_bytes(halves))
