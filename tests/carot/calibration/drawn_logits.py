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


def contaminated(seed: int) -> tuple[Tensor, Tensor]:
    """One label in twelve is drawn by chance, however confident the model."""
    logits, labels = drawn(1500, 4, temperature=2.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    chance = torch.randint(4, (1500,), generator=generator)
    return logits, torch.where(torch.rand(1500, generator=generator) < 1 / 12, chance, labels)


def skewed(images: int, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of which some classes are too sharp and others too high."""
    logits, labels = drawn(images, classes, seed=seed)
    scales = torch.linspace(0.5, 2.0, classes, dtype=torch.float64)
    offsets = torch.linspace(1.0, -1.0, classes, dtype=torch.float64)
    return logits / scales - offsets, labels
