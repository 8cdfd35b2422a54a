"""How much memory models take, and how many images a pass and for how long, if nobody says."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

SHARE_OF_RAM = 1 / 3
"""The rest is for training on the same machine, for images, and for the passes themselves."""
SHARE_OF_GPU = 0.6
BATCH_OF_GPU, BATCH_OF_CPU = 64, 16
WAIT_OF_GPU, WAIT_OF_CPU = 0.003, 0.01
"""Seconds. A pass of a few images takes about as long there."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def models_share(device: str) -> int:
    """Bytes: a share of a GPU's memory, or of this machine's or container's. Imports torch."""
    import torch

    from carot.classifier import pick_device

    chosen = pick_device(device)
    if chosen.type == "cuda":
        return int(SHARE_OF_GPU * torch.cuda.get_device_properties(chosen).total_memory)
    return int(SHARE_OF_RAM * ram())


@cache
def best_batch(device: str) -> int:
    """Images beyond which a pass gains nothing by more of them. Imports torch.

    On one core an image took 1.9 ms of carot-mini alone, 0.9 ms among 16 and 0.85 ms among 32, and
    190 and 71 ms of a ViT-B-32; a pass of 64 of the latter holds everybody up for seconds.
    """
    from carot.classifier import pick_device

    return BATCH_OF_GPU if pick_device(device).type == "cuda" else BATCH_OF_CPU


@cache
def best_wait(device: str) -> float:
    """Seconds for which images that are still being decoded are worth waiting for. Imports torch.

    On a CPU they use the processors meanwhile that a smaller pass would waste.
    """
    from carot.classifier import pick_device

    return WAIT_OF_GPU if pick_device(device).type == "cuda" else WAIT_OF_CPU


def ram() -> int:
    """Bytes that this process may have at most: of the machine, or of its control group."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *(limit for path in LIMITS if (limit := _number(path)) is not None)])


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such group, or `max`
        return None
