"""Digits drawn by a procedural pen: splines through jittered control points.

Nothing here is traced or fitted from handwriting. Each digit has a few ways of being written
(a seven with and without a bar, an open and a closed four, ...), each a handful of points that were
typed in by hand. The pen moves every point at random, slants the whole and varies its own width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

MASK_SIZE = 48
MARGIN = 0.2  # room around the unit box for points that were moved out of it
SAMPLES_PER_INTERVAL = 8

# The digit, and the control points of its strokes as x,y in hundredths of a box, y down. A stroke
# is a smooth curve; "/" is a corner, where the next begins at the same point; "|" lifts the pen.
WAYS: tuple[tuple[int, str], ...] = (
    # an oval
    (0, "50,0 16,16 5,50 18,86 50,100 84,84 95,50 82,15 50,0"),
    # an oval that starts at the upper right and overlaps itself
    (0, "70,6 36,4 10,35 10,72 40,100 75,85 90,50 72,10 40,12"),
    (1, "50,0 50,33 50,66 50,100"),
    # with a flag
    (1, "22,30 40,16 56,0 / 55,50 54,100"),
    # with a long flag
    (1, "10,48 40,22 62,0 / 60,50 58,100"),
    # with a flag and a foot
    (1, "25,25 50,0 / 50,50 50,100 | 18,100 84,98"),
    # with a foot, no flag
    (1, "55,0 50,50 45,100 | 15,98 80,100"),
    # round neck, sharp base
    (2, "10,26 28,4 62,2 84,24 66,55 36,78 6,100 / 50,98 95,97"),
    # a loop at the lower left
    (2, "15,22 40,0 75,12 74,42 45,78 16,98 8,82 30,76 60,95 95,94"),
    # nearly a Z
    (2, "10,10 50,2 86,10 / 50,52 10,97 / 50,98 92,96"),
    # two bows
    (3, "12,14 48,0 82,18 68,41 36,47 / 74,55 90,77 58,99 8,88"),
    # one movement, a small loop in the middle
    (3, "15,10 55,0 80,20 50,46 42,50 75,60 85,82 50,100 10,92"),
    # a flat top
    (3, "12,2 50,2 86,2 / 62,22 40,42 / 80,52 88,80 50,100 8,88"),
    # open
    (4, "30,0 20,30 8,60 / 50,60 94,58 | 70,30 66,65 62,100"),
    # open, as high on the right as on the left, round inside
    (4, "15,2 10,30 20,52 50,52 82,44 | 85,0 80,50 72,100"),
    # closed
    (4, "68,0 36,32 4,66 / 50,66 96,66 | 68,0 68,50 68,100"),
    # a long slanted stroke, then a short upright that starts low
    (4, "55,0 30,30 5,62 / 50,66 95,62 | 60,40 55,70 50,100"),
    # bar, neck, belly
    (5, "86,2 50,2 20,3 / 16,24 14,45 / 50,38 84,60 72,90 40,100 6,88"),
    # nearly an S
    (5, "88,2 50,3 20,14 26,42 60,50 82,70 62,96 10,97"),
    # belly first, the bar set apart
    (5, "25,10 20,30 20,46 / 55,42 82,66 60,96 12,95 | 25,6 60,5 95,0"),
    # a curved back
    (6, "72,2 34,22 10,60 22,92 55,100 86,80 74,54 42,52 14,74"),
    # a straight back and a small low bowl
    (6, "40,0 22,36 14,74 32,99 70,96 82,74 60,60 28,72 20,86"),
    # a hook at the top
    (6, "86,16 60,0 24,20 8,60 30,96 70,95 88,68 55,50 15,70"),
    # bar and leg
    (7, "8,4 50,3 92,2 / 62,46 38,100"),
    # crossed
    (7, "8,5 50,3 90,2 / 60,50 40,100 | 22,54 55,52 90,50"),
    # a hanging serif, a curved leg, crossed
    (7, "8,24 12,5 / 50,8 88,2 / 58,45 50,100 | 28,50 85,48"),
    # a wavy bar and an upright leg
    (7, "12,16 35,2 85,6 72,50 62,100"),
    # an S and the way back
    (8, "78,12 50,0 20,16 34,42 70,60 80,84 50,100 18,85 30,60 66,40 80,16 70,6"),
    # two rings
    (8, "50,46 22,24 50,0 78,22 50,46 / 14,74 50,100 86,74 50,46"),
    # narrow, crossing in the middle, open at the top
    (8, "85,5 45,6 28,25 50,48 72,75 50,99 26,78 50,50 82,8"),
    # ring and straight leg
    (9, "78,20 50,0 16,14 20,42 50,50 78,24 / 76,60 72,100"),
    # ring and curled tail
    (9, "80,16 46,0 14,20 30,50 66,44 84,18 / 84,60 66,94 34,100 8,86"),
    # one movement, slanted leg
    (9, "85,10 55,0 22,16 22,42 55,46 85,14 66,60 42,100"),
)


@dataclass(frozen=True)
class PenDigit:
    """One way of writing a digit.

    Attributes:
        label: the digit, 0 to 9.
        points: P control points in the unit box.
        strokes: smooth curves as runs of indices into `points`.
    """

    label: int
    points: tuple[tuple[float, float], ...]
    strokes: tuple[tuple[int, ...], ...]

    @classmethod
    def parse(cls, label: int, path: str) -> PenDigit:
        """Reads one entry of WAYS."""
        points: list[tuple[float, float]] = []
        strokes: list[list[int]] = [[]]
        for word in path.split():
            if word == "/":
                strokes.append([len(points) - 1])
            elif word == "|":
                strokes.append([])
            else:
                x, y = word.split(",")
                strokes[-1].append(len(points))
                points.append((int(x) / 100, int(y) / 100))
        return cls(label, tuple(points), tuple(map(tuple, strokes)))


PEN_DIGITS = tuple(PenDigit.parse(label, path) for label, path in WAYS)


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
