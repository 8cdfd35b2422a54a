"""How much memory models take, and how many images a pass and for how long, if nobody says."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

SHARE_OF_RAM = 1 / 3
"""The rest is for training on the same machine, for images, and for the passes themselves."""
SHARE_OF_GPU = 0.6
BATCH_OF_GPU, BATCH_OF_CPU = 64, 16
LEAST_WAIT_OF_GPU, LEAST_WAIT_OF_CPU, MOST_WAIT = 0.003, 0.01, 0.2
"""Seconds."""
SHARE_OF_PASS = 0.2
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def models_share(device: str) -> int:
    """Bytes: a share of a GPU's memory, or of this machine's or container's. Imports torch."""
    import torch

    from carot.models.classifier import pick_device

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
    from carot.models.classifier import pick_device

    return BATCH_OF_GPU if pick_device(device).type == "cuda" else BATCH_OF_CPU


def best_wait(device: str, pass_seconds: float) -> float:
    """Seconds for which images that are still being decoded are worth waiting for. Imports torch.

    A share of what the pass takes that they would otherwise have to wait for, and that takes
    longer without them than they add to it; on a CPU at least as long as a pass of a small model,
    since they use the processors meanwhile that it would waste.
    """
    return min(max(_least_wait(device), SHARE_OF_PASS * pass_seconds), MOST_WAIT)


@cache
def _least_wait(device: str) -> float:
    from carot.models.classifier import pick_device

    return LEAST_WAIT_OF_GPU if pick_device(device).type == "cuda" else LEAST_WAIT_OF_CPU


def ram() -> int:
    """Bytes that this process may have at most: of the machine, or of its control group."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *(limit for path in LIMITS if (limit := _number(path)) is not None)])


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such group, or `max`
        return None
