"""How the learning rate moves over a run; steps count from 0."""

from __future__ import annotations

import math


def learning_rate_at(step: int, total: int, peak: float, warmup_fraction: float) -> float:
    """Linear warm-up to `peak` over a share of `total` steps, then half a cosine to zero."""
    warmup = round(warmup_fraction * total)
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, total - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * share))
