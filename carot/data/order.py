"""The order of an epoch's images. A pure function: to resume is to ask again."""

from __future__ import annotations

import torch
from torch import Tensor

from carot.data.source import Blocks


def epoch_order(images: int, blocks: Blocks | None, seed: int, epoch: int) -> Tensor:
    """A permutation of 0 to `images - 1`, int64, that depends on the arguments alone.

    Where a source is read in blocks, a plain permutation would read a whole block for each image.
    So the blocks are permuted, and images are then permuted within each window of
    `blocks.window` of them, as many as can be held at once. When all are, the order is that of a
    source without blocks.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    if blocks is None or len(blocks.ranges) <= blocks.window:
        return torch.randperm(images, generator=generator)
    shuffled = torch.randperm(len(blocks.ranges), generator=generator).tolist()
    pieces = []
    for first in range(0, len(shuffled), blocks.window):
        window = [blocks.ranges[i] for i in shuffled[first : first + blocks.window]]
        indices = torch.cat([torch.arange(block.start, block.stop) for block in window])
        pieces.append(indices[torch.randperm(len(indices), generator=generator)])
    return torch.cat(pieces)
