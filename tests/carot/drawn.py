"""Logits and labels whose calibration is known."""

from __future__ import annotations

import torch
from torch import Tensor


def drawn(
    images: int, classes: int = 7, *, temperature: float = 1.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Logits whose best temperature is `temperature`, with labels drawn from them."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return logits * temperature, labels
