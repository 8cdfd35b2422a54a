"""Random views of digit masks, in batches: warped, cropped, put on a grid, coloured, spoiled.

Shapes: N images, C channels, H x W pixels (SIZE x SIZE after `warp`). In masks 1 is ink, 0 none.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 32

PALETTE: dict[str, tuple[float, float, float]] = {
    "black": (0.04, 0.04, 0.04),
    "white": (0.97, 0.97, 0.97),
    "grey": (0.5, 0.5, 0.5),
    "red": (0.85, 0.12, 0.12),
    "green": (0.12, 0.6, 0.2),
    "blue": (0.12, 0.25, 0.85),
    "yellow": (0.95, 0.88, 0.15),
    "orange": (0.95, 0.55, 0.1),
    "purple": (0.5, 0.15, 0.65),
    "brown": (0.45, 0.27, 0.12),
    "pink": (0.95, 0.6, 0.75),
    "cyan": (0.2, 0.85, 0.9),
}
LEAST_CONTRAST = 0.18  # between the luminances of ink and ground


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def thicken(masks_N1HW: Tensor, generator: torch.Generator) -> Tensor:
    """A quarter each: as it is, one pixel wider, two wider, one narrower where enough is left."""
    first, second, third, fourth = masks_N1HW.chunk(4)
    second = F.max_pool2d(second, 3, 1, 1)
    third = F.max_pool2d(third, 5, 1, 2)
    if torch.rand((), generator=generator) < 0.4:
        fourth = -F.max_pool2d(-fourth, 3, 1, 1) + 0.3 * fourth
    return torch.cat([first, second, third, fourth.clamp(0, 1)])


def _elastic(count: int, generator: torch.Generator) -> Tensor:
    """Smooth displacements (N, H, W, 2) in units of half the image."""
    strength_N111 = _uniform((count, 1, 1, 1), 0, 0.11, generator)
    coarse_N244 = strength_N111 * torch.randn((count, 2, 4, 4), generator=generator)
    fine_N2HW = F.interpolate(coarse_N244, size=(48, 48), mode="bicubic", align_corners=True)
    return fine_N2HW.permute(0, 2, 3, 1)


def _tight_boxes(masks_N1HW: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (N, 2) and half sizes (N, 2) of the ink, x before y, in [-1, 1] coordinates."""
    ink_NHW = masks_N1HW[:, 0] > 0.35
    centres, halves = [], []
    for axis in (1, 2):  # over rows: columns with ink (x); over columns: rows with ink (y)
        line_NL = ink_NHW.any(dim=axis).float()
        length = line_NL.shape[1]
        first_N = line_NL.argmax(dim=1)
        last_N = length - 1 - line_NL.flip(1).argmax(dim=1)
        centres.append((first_N + last_N + 1) / length - 1)
        halves.append((last_N - first_N + 1).clamp(min=3) / length)
    return torch.stack(centres, 1), torch.stack(halves, 1)


def warp(masks_N1HW: Tensor, filling_N: Tensor, generator: torch.Generator) -> Tensor:
    """Slant, stretch and bend, then crop to the ink and place it in SIZE x SIZE pixels.

    Args:
        masks_N1HW: masks of any size.
        filling_N: which of them fill the image; the others take up 50 to 95 % of it.

    Returns:
        (N, 1, SIZE, SIZE).
    """
    count = len(masks_N1HW)
    angle_N = 0.12 * torch.randn(count, generator=generator)
    shear_N = 0.18 * torch.randn(count, generator=generator)
    cos_N, sin_N, zero_N = angle_N.cos(), angle_N.sin(), torch.zeros(count)
    theta_N23 = torch.stack([cos_N, -sin_N + shear_N, zero_N, sin_N, cos_N, zero_N], dim=1).reshape(
        count, 2, 3
    )
    grid_NHW2 = F.affine_grid(1.15 * theta_N23, [count, 1, 48, 48], align_corners=False)
    grid_NHW2 = grid_NHW2 + _elastic(count, generator)
    warped_N1HW = F.grid_sample(masks_N1HW, grid_NHW2, align_corners=False)

    centre_N2, half_N2 = _tight_boxes(warped_N1HW)
    fill_N1 = torch.where(
        filling_N[:, None],
        _uniform((count, 1), 0.88, 1.03, generator),
        _uniform((count, 1), 0.5, 0.95, generator),
    )
    return _place(warped_N1HW, centre_N2, half_N2, fill_N1, generator)


def _place(
    masks_N1HW: Tensor,
    centre_N2: Tensor,
    half_N2: Tensor,
    fill_N1: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """The boxes' content in SIZE x SIZE pixels, a quarter of them turned by up to 40 degrees."""
    count = len(masks_N1HW)
    longest_N1 = half_N2.amax(dim=1, keepdim=True)
    # Stretched towards a square by a random share: handwriting is wider than most type.
    share_N1 = _uniform((count, 1), 0, 0.6, generator) * (half_N2 > 0.3 * longest_N1)
    half_N2 = half_N2**share_N1 * longest_N1 ** (1 - share_N1)
    half_N2 = half_N2 / fill_N1
    shift_N2 = (1 - fill_N1).clamp(min=0.04) * half_N2 * _uniform((count, 2), -0.7, 0.7, generator)
    turned_N = (torch.rand(count, generator=generator) < 0.25).float()
    angle_N = turned_N * _uniform((count,), -0.7, 0.7, generator)
    cos_N, sin_N = angle_N.cos(), angle_N.sin()
    (x_N, y_N), (a_N, b_N) = (centre_N2 + shift_N2).T, half_N2.T
    theta_N23 = torch.stack(
        [a_N * cos_N, -a_N * sin_N, x_N, b_N * sin_N, b_N * cos_N, y_N], dim=1
    ).reshape(count, 2, 3)
    grid_NHW2 = F.affine_grid(theta_N23, [count, 1, 2 * SIZE, 2 * SIZE], align_corners=False)
    return F.avg_pool2d(F.grid_sample(masks_N1HW, grid_NHW2, align_corners=False), 2)


def through_grid(masks_N1HW: Tensor, chosen_N: Tensor) -> Tensor:
    """The chosen masks seen through 8 x 8 cells: thresholded, box-averaged, bicubic again.

    Coarse digit data of the eighties and nineties was made like that.
    """
    bits_n1HW = (masks_N1HW[chosen_N] > 0.45).float()
    cells_n188 = (F.avg_pool2d(bits_n1HW, SIZE // 8) * 16).round() / 16
    seen_n1HW = F.interpolate(cells_n188, size=(SIZE, SIZE), mode="bicubic", antialias=True)
    result_N1HW = masks_N1HW.clone()
    result_N1HW[chosen_N] = seen_n1HW.clamp(0, 1)
    return result_N1HW


def _luminance(colours_N3: Tensor) -> Tensor:
    return colours_N3 @ torch.tensor([0.299, 0.587, 0.114])


def draw_colours(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colours of ink and ground from the palette, far enough apart to be read.

    Returns:
        palette indices of ink and ground, each (N,), and their colours, each (N, 3), a little
        off the palette's.
    """
    palette_P3 = torch.tensor(list(PALETTE.values()))
    light_P = _luminance(palette_P3)
    allowed_PP = (light_P[:, None] - light_P[None]).abs() > LEAST_CONTRAST
    pair_N = torch.multinomial(allowed_PP.float().flatten(), count, True, generator=generator)
    ink_N, ground_N = pair_N // len(palette_P3), pair_N % len(palette_P3)
    ink_N3 = palette_P3[ink_N] + 0.04 * torch.randn((count, 3), generator=generator)
    ground_N3 = palette_P3[ground_N] + 0.04 * torch.randn((count, 3), generator=generator)
    return ink_N, ground_N, ink_N3.clamp(0, 1), ground_N3.clamp(0, 1)


def paint(masks_N1HW: Tensor, ink_N3: Tensor, ground_N3: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1]."""
    ink_N311, ground_N311 = ink_N3[:, :, None, None], ground_N3[:, :, None, None]
    return ground_N311 + masks_N1HW * (ink_N311 - ground_N311)


def _blur(images_NCHW: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(2.5 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    rows = F.conv2d(F.pad(images_NCHW, (radius, radius, 0, 0), "replicate"), kernel, groups=3)
    rows = F.pad(rows, (0, 0, radius, radius), "replicate")
    return F.conv2d(rows, kernel.transpose(2, 3), groups=3)


def _occlude(images_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """One rectangle of one colour, up to half the side long, somewhere on each square image."""
    count, size = len(images_NCHW), images_NCHW.shape[-1]
    axis = torch.arange(size)
    inside = []
    for _ in range(2):
        length_N1 = torch.randint(3, size // 2 + 1, (count, 1), generator=generator)
        start_N1 = (torch.rand((count, 1), generator=generator) * (size - length_N1)).long()
        inside.append((axis >= start_N1) & (axis < start_N1 + length_N1))
    box_N1HW = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    colour_N311 = torch.rand((count, 3, 1, 1), generator=generator)
    grey_N111 = torch.rand((count, 1, 1, 1), generator=generator)
    is_grey_N111 = torch.rand((count, 1, 1, 1), generator=generator) < 0.5
    return torch.where(box_N1HW, torch.where(is_grey_N111, grey_N111, colour_N311), images_NCHW)


def spoil(images_NCHW: Tensor, kind_N: Tensor, generator: torch.Generator) -> Tensor:
    """Blur (kind 1), noise (2), a covering rectangle (3) or less contrast (4); 0 stays clean."""
    result_NCHW = images_NCHW.clone()
    blurred = (kind_N == 1).nonzero()[:, 0]
    for part in blurred.chunk(4):
        if len(part):
            sigma = float(_uniform((1,), 0.5, 2.6, generator))
            result_NCHW[part] = _blur(result_NCHW[part], sigma)
    noisy = kind_N == 2
    sigma_n111 = _uniform((int(noisy.sum()), 1, 1, 1), 0.04, 0.4, generator)
    noise_nCHW = torch.randn((len(sigma_n111), *images_NCHW.shape[1:]), generator=generator)
    result_NCHW[noisy] += sigma_n111 * noise_nCHW
    covered = kind_N == 3
    result_NCHW[covered] = _occlude(result_NCHW[covered], generator)
    faded = kind_N == 4
    middle_n311 = result_NCHW[faded].mean(dim=(2, 3), keepdim=True)
    left_n111 = _uniform((len(middle_n311), 1, 1, 1), 0.25, 0.8, generator)
    result_NCHW[faded] = middle_n311 + left_n111 * (result_NCHW[faded] - middle_n311)
    return result_NCHW.clamp(0, 1)
