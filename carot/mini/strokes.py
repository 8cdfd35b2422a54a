"""Digits drawn by a procedural pen: splines through jittered control points.

Nothing here is traced or fitted from handwriting. Each digit has a few ways of being written
(a seven with and without a bar, an open and a closed four, ...), each a handful of points that were
typed in by hand. The pen moves every point at random, slants the whole and varies its own width.

Coordinates are in the unit box, x to the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Point = tuple[float, float]

MASK_SIZE = 48
MARGIN = 0.2  # room around the unit box for points that were moved out of it
SAMPLES_PER_INTERVAL = 8


@dataclass(frozen=True)
class PenDigit:
    """One way of writing a digit.

    Attributes:
        label: the digit, 0 to 9.
        points: control points.
        strokes: smooth curves as runs of indices into `points`; a corner is where one run ends
            and the next begins at the same index.
    """

    label: int
    points: tuple[Point, ...]
    strokes: tuple[tuple[int, ...], ...]


def _run(*indices: int) -> tuple[int, ...]:
    return tuple(range(indices[0], indices[1] + 1))


PEN_DIGITS: tuple[PenDigit, ...] = (
    PenDigit(  # an oval
        0,
        ((0.5, 0), (0.16, 0.16), (0.05, 0.5), (0.18, 0.86), (0.5, 1), (0.84, 0.84), (0.95, 0.5),
         (0.82, 0.15), (0.5, 0)),
        (_run(0, 8),),
    ),
    PenDigit(  # an oval that starts at the upper right and overlaps itself
        0,
        ((0.7, 0.06), (0.36, 0.04), (0.1, 0.35), (0.1, 0.72), (0.4, 1), (0.75, 0.85), (0.9, 0.5),
         (0.72, 0.1), (0.4, 0.12)),
        (_run(0, 8),),
    ),
    PenDigit(1, ((0.5, 0), (0.5, 0.33), (0.5, 0.66), (0.5, 1)), (_run(0, 3),)),
    PenDigit(  # with a flag
        1, ((0.22, 0.3), (0.4, 0.16), (0.56, 0), (0.55, 0.5), (0.54, 1)), (_run(0, 2), _run(2, 4))
    ),
    PenDigit(  # with a long flag
        1, ((0.1, 0.48), (0.4, 0.22), (0.62, 0), (0.6, 0.5), (0.58, 1)), (_run(0, 2), _run(2, 4))
    ),
    PenDigit(  # with a flag and a foot
        1,
        ((0.25, 0.25), (0.5, 0), (0.5, 0.5), (0.5, 1), (0.18, 1), (0.84, 0.98)),
        (_run(0, 1), _run(1, 3), _run(4, 5)),
    ),
    PenDigit(  # with a foot, no flag
        1, ((0.55, 0), (0.5, 0.5), (0.45, 1), (0.15, 0.98), (0.8, 1)), (_run(0, 2), _run(3, 4))
    ),
    PenDigit(  # round neck, sharp base
        2,
        ((0.1, 0.26), (0.28, 0.04), (0.62, 0.02), (0.84, 0.24), (0.66, 0.55), (0.36, 0.78),
         (0.06, 1), (0.5, 0.98), (0.95, 0.97)),
        (_run(0, 6), _run(6, 8)),
    ),
    PenDigit(  # a loop at the lower left
        2,
        ((0.15, 0.22), (0.4, 0), (0.75, 0.12), (0.74, 0.42), (0.45, 0.78), (0.16, 0.98),
         (0.08, 0.82), (0.3, 0.76), (0.6, 0.95), (0.95, 0.94)),
        (_run(0, 9),),
    ),
    PenDigit(  # nearly a Z
        2,
        ((0.1, 0.1), (0.5, 0.02), (0.86, 0.1), (0.5, 0.52), (0.1, 0.97), (0.5, 0.98), (0.92, 0.96)),
        (_run(0, 2), _run(2, 4), _run(4, 6)),
    ),
    PenDigit(  # two bows
        3,
        ((0.12, 0.14), (0.48, 0), (0.82, 0.18), (0.68, 0.41), (0.36, 0.47), (0.74, 0.55),
         (0.9, 0.77), (0.58, 0.99), (0.08, 0.88)),
        (_run(0, 4), _run(4, 8)),
    ),
    PenDigit(  # one movement, a small loop in the middle
        3,
        ((0.15, 0.1), (0.55, 0), (0.8, 0.2), (0.5, 0.46), (0.42, 0.5), (0.75, 0.6), (0.85, 0.82),
         (0.5, 1), (0.1, 0.92)),
        (_run(0, 8),),
    ),
    PenDigit(  # a flat top
        3,
        ((0.12, 0.02), (0.5, 0.02), (0.86, 0.02), (0.62, 0.22), (0.4, 0.42), (0.8, 0.52),
         (0.88, 0.8), (0.5, 1), (0.08, 0.88)),
        (_run(0, 2), _run(2, 4), _run(4, 8)),
    ),
    PenDigit(  # open
        4,
        ((0.3, 0), (0.2, 0.3), (0.08, 0.6), (0.5, 0.6), (0.94, 0.58), (0.7, 0.3), (0.66, 0.65),
         (0.62, 1)),
        (_run(0, 2), _run(2, 4), _run(5, 7)),
    ),
    PenDigit(  # open, as high on the right as on the left, round inside
        4,
        ((0.15, 0.02), (0.1, 0.3), (0.2, 0.52), (0.5, 0.52), (0.82, 0.44), (0.85, 0), (0.8, 0.5),
         (0.72, 1)),
        (_run(0, 4), _run(5, 7)),
    ),
    PenDigit(  # closed
        4,
        ((0.68, 0), (0.36, 0.32), (0.04, 0.66), (0.5, 0.66), (0.96, 0.66), (0.68, 0.5), (0.68, 1)),
        (_run(0, 2), _run(2, 4), (0, 5, 6)),
    ),
    PenDigit(  # a long slanted stroke, then a short upright that starts low
        4,
        ((0.55, 0), (0.3, 0.3), (0.05, 0.62), (0.5, 0.66), (0.95, 0.62), (0.6, 0.4), (0.55, 0.7),
         (0.5, 1)),
        (_run(0, 2), _run(2, 4), _run(5, 7)),
    ),
    PenDigit(  # bar, neck, belly
        5,
        ((0.86, 0.02), (0.5, 0.02), (0.2, 0.03), (0.16, 0.24), (0.14, 0.45), (0.5, 0.38),
         (0.84, 0.6), (0.72, 0.9), (0.4, 1), (0.06, 0.88)),
        (_run(0, 2), _run(2, 4), _run(4, 9)),
    ),
    PenDigit(  # nearly an S
        5,
        ((0.88, 0.02), (0.5, 0.03), (0.2, 0.14), (0.26, 0.42), (0.6, 0.5), (0.82, 0.7), (0.62, 0.96),
         (0.1, 0.97)),
        (_run(0, 7),),
    ),
    PenDigit(  # belly first, the bar set apart
        5,
        ((0.25, 0.1), (0.2, 0.3), (0.2, 0.46), (0.55, 0.42), (0.82, 0.66), (0.6, 0.96), (0.12, 0.95),
         (0.25, 0.06), (0.6, 0.05), (0.95, 0.0)),
        (_run(0, 2), _run(2, 6), _run(7, 9)),
    ),
    PenDigit(  # a curved back
        6,
        ((0.72, 0.02), (0.34, 0.22), (0.1, 0.6), (0.22, 0.92), (0.55, 1), (0.86, 0.8), (0.74, 0.54),
         (0.42, 0.52), (0.14, 0.74)),
        (_run(0, 8),),
    ),
    PenDigit(  # a straight back and a small low bowl
        6,
        ((0.4, 0), (0.22, 0.36), (0.14, 0.74), (0.32, 0.99), (0.7, 0.96), (0.82, 0.74), (0.6, 0.6),
         (0.28, 0.72), (0.2, 0.86)),
        (_run(0, 8),),
    ),
    PenDigit(  # a hook at the top
        6,
        ((0.86, 0.16), (0.6, 0), (0.24, 0.2), (0.08, 0.6), (0.3, 0.96), (0.7, 0.95), (0.88, 0.68),
         (0.55, 0.5), (0.15, 0.7)),
        (_run(0, 8),),
    ),
    PenDigit(  # bar and leg
        7, ((0.08, 0.04), (0.5, 0.03), (0.92, 0.02), (0.62, 0.46), (0.38, 1)), (_run(0, 2), _run(2, 4))
    ),
    PenDigit(  # crossed
        7,
        ((0.08, 0.05), (0.5, 0.03), (0.9, 0.02), (0.6, 0.5), (0.4, 1), (0.22, 0.54), (0.55, 0.52),
         (0.9, 0.5)),
        (_run(0, 2), _run(2, 4), _run(5, 7)),
    ),
    PenDigit(  # a hanging serif, a curved leg, crossed
        7,
        ((0.08, 0.24), (0.12, 0.05), (0.5, 0.08), (0.88, 0.02), (0.58, 0.45), (0.5, 1), (0.28, 0.5),
         (0.85, 0.48)),
        ((0, 1), _run(1, 3), _run(3, 5), _run(6, 7)),
    ),
    PenDigit(  # a wavy bar and an upright leg
        7, ((0.12, 0.16), (0.35, 0.02), (0.85, 0.06), (0.72, 0.5), (0.62, 1)), (_run(0, 4),)
    ),
    PenDigit(  # an S and the way back
        8,
        ((0.78, 0.12), (0.5, 0), (0.2, 0.16), (0.34, 0.42), (0.7, 0.6), (0.8, 0.84), (0.5, 1),
         (0.18, 0.85), (0.3, 0.6), (0.66, 0.4), (0.8, 0.16), (0.7, 0.06)),
        (_run(0, 11),),
    ),
    PenDigit(  # two rings
        8,
        ((0.5, 0.46), (0.22, 0.24), (0.5, 0), (0.78, 0.22), (0.5, 0.46), (0.14, 0.74), (0.5, 1),
         (0.86, 0.74), (0.5, 0.46)),
        (_run(0, 4), _run(4, 8)),
    ),
    PenDigit(  # narrow, crossing in the middle, open at the top
        8,
        ((0.85, 0.05), (0.45, 0.06), (0.28, 0.25), (0.5, 0.48), (0.72, 0.75), (0.5, 0.99),
         (0.26, 0.78), (0.5, 0.5), (0.82, 0.08)),
        (_run(0, 8),),
    ),
    PenDigit(  # ring and straight leg
        9,
        ((0.78, 0.2), (0.5, 0), (0.16, 0.14), (0.2, 0.42), (0.5, 0.5), (0.78, 0.24), (0.76, 0.6),
         (0.72, 1)),
        (_run(0, 5), _run(5, 7)),
    ),
    PenDigit(  # ring and curled tail
        9,
        ((0.8, 0.16), (0.46, 0), (0.14, 0.2), (0.3, 0.5), (0.66, 0.44), (0.84, 0.18), (0.84, 0.6),
         (0.66, 0.94), (0.34, 1), (0.08, 0.86)),
        (_run(0, 5), _run(5, 9)),
    ),
    PenDigit(  # one movement, slanted leg
        9,
        ((0.85, 0.1), (0.55, 0), (0.22, 0.16), (0.22, 0.42), (0.55, 0.46), (0.85, 0.14), (0.66, 0.6),
         (0.42, 1)),
        (_run(0, 7),),
    ),
)


def _spline_basis(count: int) -> NDArray[np.float32]:
    """Catmull-Rom weights (S, count): S points on the curve through `count` control points."""
    rows = []
    for start in range(count - 1):
        around = [max(start - 1, 0), start, start + 1, min(start + 2, count - 1)]
        for t in np.linspace(0, 1, SAMPLES_PER_INTERVAL + 1)[: None if start == count - 2 else -1]:
            weights = 0.5 * np.array(
                [
                    -t + 2 * t**2 - t**3,
                    2 - 5 * t**2 + 3 * t**3,
                    t + 4 * t**2 - 3 * t**3,
                    -(t**2) + t**3,
                ]
            )
            row = np.zeros(count)
            np.add.at(row, around, weights)
            rows.append(row)
    return np.stack(rows).astype(np.float32)


def _curve_weights(digit: PenDigit) -> NDArray[np.float32]:
    """Weights (S, P) that turn a digit's P control points into S points along its strokes."""
    parts = []
    for stroke in digit.strokes:
        part = np.zeros((0, len(digit.points)), dtype=np.float32)
        basis = _spline_basis(len(stroke))
        part = np.zeros((len(basis), len(digit.points)), dtype=np.float32)
        for column, index in enumerate(stroke):
            part[:, index] += basis[:, column]
        parts.append(part)
    return np.concatenate(parts)


def draw(digit: PenDigit, count: int, generator: torch.Generator) -> NDArray[np.uint8]:
    """`count` drawings of one digit as masks (count, MASK_SIZE, MASK_SIZE), 255 under the pen."""
    weights_SP = torch.from_numpy(_curve_weights(digit))
    points_P2 = torch.tensor(digit.points)
    spread_N11 = 0.015 + 0.055 * torch.rand(count, 1, 1, generator=generator)
    jitter_NP2 = torch.randn(count, len(points_P2), 2, generator=generator)
    curve_NS2 = weights_SP @ (points_P2 + spread_N11 * jitter_NP2)
    slant_N = 0.2 * torch.randn(count, generator=generator)
    aspect_N = 0.5 + 0.4 * torch.rand(count, generator=generator)
    x_NS = (curve_NS2[..., 0] - 0.5) * aspect_N[:, None]
    x_NS = x_NS + slant_N[:, None] * (0.5 - curve_NS2[..., 1]) + 0.5
    curve_NS2 = torch.stack([x_NS, curve_NS2[..., 1]], dim=-1)
    radius_N1 = 0.03 + 0.07 * torch.rand(count, 1, generator=generator)

    axis = torch.linspace(-MARGIN, 1 + MARGIN, MASK_SIZE)
    y_HW, x_HW = torch.meshgrid(axis, axis, indexing="ij")
    pixels_1K2 = torch.stack([x_HW, y_HW], dim=-1).reshape(1, -1, 2)
    pixel = float(axis[1] - axis[0])
    masks = []
    for rows in range(0, count, 256):
        curve_nS2 = curve_NS2[rows : rows + 256]
        distance_nK = torch.cdist(pixels_1K2.expand(len(curve_nS2), -1, -1), curve_nS2).amin(2)
        ink_nK = ((radius_N1[rows : rows + 256] - distance_nK) / pixel + 0.5).clamp(0, 1)
        masks.append((ink_nK * 255).round().to(torch.uint8).reshape(-1, MASK_SIZE, MASK_SIZE))
    return torch.cat(masks).numpy()


def pen_digits(per_digit: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """About `per_digit` drawings of each digit, shared out over its ways of being written.

    Returns:
        masks (N, MASK_SIZE, MASK_SIZE) and labels (N,).
    """
    generator = torch.Generator().manual_seed(seed)
    masks, labels = [], []
    for digit in PEN_DIGITS:
        ways = sum(other.label == digit.label for other in PEN_DIGITS)
        count = max(1, per_digit // ways)
        masks.append(draw(digit, count, generator))
        labels.append(np.full(count, digit.label, dtype=np.int64))
    return np.concatenate(masks), np.concatenate(labels)
