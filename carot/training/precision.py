"""Sums in float32 at least, also inside an autocast region; float64 stays float64."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """A region without autocast, on the tensor's device: products keep their operands' type."""
    return torch.autocast(tensor.device.type, enabled=False)


def widened(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if that is what it is."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
