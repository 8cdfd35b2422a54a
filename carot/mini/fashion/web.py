"""Grey photographs of clothes as a web shows them: dyed, patterned, turned, on any ground, spoiled.

Shapes: N images, H x W pixels. Everything is drawn from the generator that is given.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from carot.mini import augment

USUAL_SHARE = 0.3  # white to grey cloth on black, as the photographs are
INVERSE_SHARE = 0.15  # the same as a negative; the rest has the palette's colours
_DARKEST = 0.25  # what shade leaves of a colour


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def turned(grey_N1HW: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored, turned, made smaller or larger and moved; the ground stays 0."""
    count = len(grey_N1HW)
    far_N = (torch.rand(count, generator=generator) < 0.3).float()
    angle_N = 0.12 * torch.randn(count, generator=generator)
    angle_N = angle_N + far_N * _uniform((count,), -0.8, 0.8, generator)
    scale_N = _uniform((count,), 0.92, 1.45, generator)
    mirror_N = torch.where(torch.rand(count, generator=generator) < 0.5, 1.0, -1.0)
    shift_N2 = _uniform((count, 2), -0.16, 0.16, generator)
    cos_N, sin_N = scale_N * angle_N.cos(), scale_N * angle_N.sin()
    theta_N23 = torch.stack(
        [mirror_N * cos_N, -mirror_N * sin_N, shift_N2[:, 0], sin_N, cos_N, shift_N2[:, 1]], dim=1
    ).reshape(count, 2, 3)
    grid_NHW2 = F.affine_grid(theta_N23, list(grey_N1HW.shape), align_corners=False)
    return F.grid_sample(grey_N1HW, grid_NHW2, align_corners=False)


def cut_out(grey_N1HW: Tensor) -> Tensor:
    """How much of each pixel is garment, in [0, 1]; dark prints inside it count as garment."""
    seen_N1HW = (grey_N1HW * 8).clamp(0, 1)
    return -F.max_pool2d(-F.max_pool2d(seen_N1HW, 3, 1, 1), 3, 1, 1)


def patterns(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Stripes, checks and dots of random width and angle, (N, 1, size, size) in [0, 1]."""
    axis = torch.linspace(-1, 1, size)
    angle_N11 = _uniform((count, 1, 1), 0, math.pi, generator)
    wave_N11 = _uniform((count, 1, 1), 5, 14, generator)
    along_NHW = angle_N11.cos() * axis[:, None] + angle_N11.sin() * axis
    across_NHW = angle_N11.cos() * axis - angle_N11.sin() * axis[:, None]
    first_NHW, second_NHW = (wave_N11 * along_NHW).sin(), (wave_N11 * across_NHW).sin()
    kind_N11 = torch.randint(3, (count, 1, 1), generator=generator)
    chosen_NHW = torch.where(
        kind_N11 == 0,
        first_NHW,
        torch.where(kind_N11 == 1, first_NHW * second_NHW, (first_NHW + second_NHW) / 2),
    )
    return (0.5 + 2 * chosen_NHW).clamp(0, 1)[:, None]


def clouds(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Smooth random light over the ground, (N, 1, size, size) around 0."""
    coarse_N144 = torch.randn((count, 1, 4, 4), generator=generator)
    return F.interpolate(coarse_N144, size=(size, size), mode="bicubic", align_corners=True)


def dressed(
    grey_N1HW: Tensor, cloth_N3: Tensor, ground_N3: Tensor, generator: torch.Generator
) -> Tensor:
    """The garments in their colours on their grounds, (N, 3, H, W) in [0, 1].

    A third of the cloths are patterned, four in ten grounds uneven, and a third of the shades
    turned round, so that what is dark in a photograph is light.
    """
    count, size = len(grey_N1HW), grey_N1HW.shape[-1]
    cut_N1HW = cut_out(grey_N1HW)
    round_N111 = torch.rand((count, 1, 1, 1), generator=generator) < 0.33
    shade_N1HW = torch.where(round_N111, 1 - 0.8 * grey_N1HW, grey_N1HW)
    has_N111 = (torch.rand((count, 1, 1, 1), generator=generator) < 0.33).float()
    depth_N111 = has_N111 * _uniform((count, 1, 1, 1), 0.25, 0.7, generator)
    shade_N1HW = shade_N1HW * (1 - depth_N111 * patterns(count, size, generator))
    cloth_NCHW = cloth_N3[:, :, None, None] * (_DARKEST + (1 - _DARKEST) * shade_N1HW)
    uneven_N111 = (torch.rand((count, 1, 1, 1), generator=generator) < 0.4).float()
    light_N1HW = 0.12 * uneven_N111 * clouds(count, size, generator)
    ground_NCHW = ground_N3[:, :, None, None] + light_N1HW
    return (cut_N1HW * cloth_NCHW + (1 - cut_N1HW) * ground_NCHW).clamp(0, 1)


def web_images(
    grey_N1HW: Tensor, plain: bool, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (N, 3, H, W) with palette indices of cloth and ground and kinds of flaw, each (N,).

    Args:
        grey_N1HW: photographs, in [0, 1], garments light on black.
        plain: whether to keep them as they are but for their place.
    """
    count = len(grey_N1HW)
    names = list(augment.PALETTE)
    black, white = names.index("black"), names.index("white")
    seen_N1HW = turned(grey_N1HW, generator)
    cloth_N, ground_N, cloth_N3, ground_N3 = augment.draw_colours(count, generator)
    style_N = torch.rand(count, generator=generator)
    if plain:
        style_N = torch.zeros(count)
    images_NCHW = dressed(seen_N1HW, cloth_N3, ground_N3, generator)
    usual_N = style_N < USUAL_SHARE
    inverse_N = ~usual_N & (style_N < USUAL_SHARE + INVERSE_SHARE)
    images_NCHW[usual_N] = seen_N1HW[usual_N].expand(-1, 3, -1, -1)
    images_NCHW[inverse_N] = 1 - seen_N1HW[inverse_N].expand(-1, 3, -1, -1)
    cloth_N[usual_N], ground_N[usual_N] = white, black
    cloth_N[inverse_N], ground_N[inverse_N] = black, white
    flaw_N = (torch.randint(9, (count,), generator=generator) - 4).clamp(min=0)
    if plain:
        flaw_N = torch.zeros(count, dtype=torch.long)
    return augment.spoil(images_NCHW, flaw_N, generator), cloth_N, ground_N, flaw_N
