"""How much memory models may take when nobody says."""

from __future__ import annotations

import os
from pathlib import Path

SHARE_OF_RAM = 1 / 3
"""The rest is for training on the same machine, for images, and for the passes themselves."""
SHARE_OF_GPU = 0.6
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def models_share(device: str) -> int:
    """Bytes: a share of a GPU's memory, or of this machine's or container's. Imports torch."""
    import torch

    from carot.classifier import pick_device

    chosen = pick_device(device)
    if chosen.type == "cuda":
        return int(SHARE_OF_GPU * torch.cuda.get_device_properties(chosen).total_memory)
    return int(SHARE_OF_RAM * ram())


def ram() -> int:
    """Bytes that this process may have at most: of the machine, or of its control group."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *(limit for path in LIMITS if (limit := _number(path)) is not None)])


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such group, or `max`
        return None
