"""Images unlike any that a model trains on, made of those it trains on.

What fine-tuning forgets, it forgets where it has no data. An anchor is such a place: the student is
held there to what its start says. Random filters (RandConv, Xu et al., ICLR 2021) change colour and
texture and keep shapes; here no label goes with them, and nothing is learned from them.
Shape suffixes: N images, A anchors, B images of a batch that several processes share.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from carot.distributed import Share

KERNEL = 3  # pixels
LARGEST_SHARE = 0.5
"""Of the image itself in an anchor. Nearer to an image that is trained on, holding the student to
its start would keep it from learning."""


def random_filters(
    images_NCHW: Tensor, count: int, generator: torch.Generator, share: Share | None = None
) -> Tensor:
    """`count` of the images, drawn without replacement, each through a random filter of its own.

    x' = λ x + (1 − λ) w * x, w a 3 x 3 convolution over all channels with normal weights of
    variance 1 / (9 channels), λ uniform on [0, ½].

    Args:
        images_NCHW: normalised images, on any device; their number is at least `count`.
        generator: on the CPU; all that is random comes from it.
        share: given, the images are a share of B, at least `count`; drawn is from all of them, and
            those that fall on the share are made: together the shares have what one process has.

    Returns:
        Images of shape (A, C, H, W), without gradient.
    """
    channels = images_NCHW.shape[1]
    share = share or Share((len(images_NCHW),))
    drawn_A = torch.randperm(share.total, generator=generator)[:count] - share.span.start
    filters, kept = _drawn(count, channels, generator)
    here_A = (drawn_A >= 0) & (drawn_A < len(images_NCHW))
    drawn_A, filters, kept = drawn_A[here_A], filters[here_A], kept[here_A].to(images_NCHW)
    images_ACHW = images_NCHW.detach()[drawn_A.to(images_NCHW.device)]
    return _through(images_ACHW, filters, kept)


def each_filtered(
    images_NCHW: Tensor, generator: torch.Generator, share: Share | None = None
) -> Tensor:
    """Every image through a random filter of its own, as `random_filters` draws them, in order.

    Args:
        images_NCHW: normalised images, on any device.
        generator: on the CPU; all that is random comes from it.
        share: given, the images are a share of B, and their filters are those that they have where
            one process has all of them.

    Returns:
        Images of shape (N, C, H, W), without gradient.
    """
    share = share or Share((len(images_NCHW),))
    filters, kept = _drawn(share.total, images_NCHW.shape[1], generator)
    return _through(images_NCHW.detach(), filters[share.span], kept[share.span].to(images_NCHW))


def _drawn(count: int, channels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Filters, and how much each keeps of its image."""
    shape = (count, channels, channels, KERNEL, KERNEL)
    filters = torch.randn(shape, generator=generator) / (channels * KERNEL**2) ** 0.5
    return filters, LARGEST_SHARE * torch.rand((count, 1, 1, 1), generator=generator)


def _through(images_ACHW: Tensor, filters: Tensor, kept: Tensor) -> Tensor:
    if len(images_ACHW) == 0:
        return images_ACHW
    # One group an image, so that each meets its own filter.
    folded = images_ACHW.flatten(0, 1)[None]
    weights = filters.to(images_ACHW).flatten(0, 1)
    filtered = F.conv2d(folded, weights, padding=KERNEL // 2, groups=len(images_ACHW))
    return kept * images_ACHW + (1.0 - kept) * filtered.view_as(images_ACHW)
