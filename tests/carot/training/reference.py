"""Losses once more, slow and independent: scalar loops in Python floats, no torch.

Tables are lists of rows; features are arrays of unit rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

Table = list[list[float]]


def log_softmax(row: Sequence[float]) -> list[float]:
    top = max(row)
    total = math.log(math.fsum(math.exp(x - top) for x in row))
    return [x - top - total for x in row]


def similarities(rows: np.ndarray, columns: np.ndarray, scale: float) -> Table:
    return [
        [scale * math.fsum(a * b for a, b in zip(r, c, strict=True)) for c in columns] for r in rows
    ]


def transposed(table: Table) -> Table:
    return [list(column) for column in zip(*table, strict=True)]


def match(table: Table, labels: Sequence[int] | None, smoothing: float = 0.0) -> float:
    """Cross-entropy of rows with their positives, mean over rows."""
    n, total = len(table), 0.0
    labels = list(range(n)) if labels is None else labels
    for i, row in enumerate(table):
        log_p = log_softmax(row)
        mates = [j for j in range(n) if labels[j] == labels[i]]
        for j in range(n):
            usual = 1 / len(mates) if j in mates else 0.0
            total -= ((1 - smoothing) * usual + smoothing / n) * log_p[j] / n
    return total


def classify(table: Table, labels: Sequence[int], smoothing: float = 0.0) -> float:
    """Cross-entropy of rows with their class, mean over rows."""
    total = 0.0
    for row, label in zip(table, labels, strict=True):
        log_p = log_softmax(row)
        total -= (1 - smoothing) * log_p[label] + smoothing * math.fsum(log_p) / len(row)
    return total / len(table)


def contrastive(
    images: np.ndarray,
    texts: np.ndarray,
    scale: float,
    labels: Sequence[int] | None,
    smoothing: float = 0.0,
) -> float:
    logits = similarities(images, texts, scale)
    return (match(logits, labels, smoothing) + match(transposed(logits), labels, smoothing)) / 2


def squares(entries: np.ndarray) -> float:
    return math.fsum(float(x) ** 2 for x in entries.flat)


def divergence(student: Table, teacher: Table) -> float:
    """KL(teacher ‖ student) of rows, mean over rows."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        log_s, log_t = log_softmax(s), log_softmax(t)
        total += math.fsum(math.exp(b) * (b - a) for a, b in zip(log_s, log_t, strict=True))
    return total / len(student)


def probability_distance(student: Table, teacher: Table) -> float:
    """Squared difference of the probabilities, summed over a row, mean over rows."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        pairs = zip(log_softmax(s), log_softmax(t), strict=True)
        total += math.fsum((math.exp(a) - math.exp(b)) ** 2 for a, b in pairs)
    return total / len(student)


def distillation(student: Table, teacher: Table) -> float:
    return divergence(student, teacher) + divergence(transposed(student), transposed(teacher))


def feature(si: np.ndarray, st: np.ndarray, ti: np.ndarray, tt: np.ndarray) -> float:
    return squares(si - ti) / si.size + squares(st - tt) / st.size


def interaction(
    si: np.ndarray,
    st: np.ndarray,
    ti: np.ndarray,
    tt: np.ndarray,
    scale: float,
    labels: Sequence[int] | None,
) -> float:
    to_texts, to_images = similarities(si, tt, scale), similarities(st, ti, scale)
    return (match(to_texts, labels) + match(to_images, labels)) / 2


def cross(
    si: np.ndarray,
    st: np.ndarray,
    ti: np.ndarray,
    tt: np.ndarray,
    scale: float,
    teacher_scale: float,
) -> float:
    forth = divergence(similarities(si, tt, scale), similarities(ti, tt, teacher_scale))
    back = divergence(similarities(st, ti, scale), similarities(tt, ti, teacher_scale))
    return (forth + back) / 2


def difference_vectors(images: np.ndarray, captions: np.ndarray, mean: np.ndarray) -> float:
    """DiVE's two losses of difference vectors, summed."""
    total = 0.0
    for u, v in zip(images, captions, strict=True):
        total += squares(u - mean) + squares(v - mean) + squares(u - v)
    return total / len(images)


def cross_norm(image: np.ndarray, text: np.ndarray, form: str) -> float:
    squared = squares(np.array(similarities(image, text, 1.0)))
    return squared / 2 if form == "squared" else math.sqrt(squared)


def orthogonality(rows: np.ndarray, form: str) -> float:
    total = 0.0
    for a, gram in enumerate(similarities(rows, rows, 1.0)):
        total += math.fsum((inner - (a == b)) ** 2 for b, inner in enumerate(gram))
    return total if form == "squared" else math.sqrt(total)


def text_change(now: np.ndarray, start: np.ndarray, texts: np.ndarray, scale: float) -> float:
    after, before = similarities(now, texts, scale), similarities(start, texts, scale)
    total = 0.0
    for a, b in zip(after, before, strict=True):
        total += math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / (2 * len(texts))
    return total / len(now)


def numeric_gradient(function: Callable[[np.ndarray], float], at: Tensor) -> np.ndarray:
    """Central differences of a slow implementation."""
    point, step = at.detach().numpy(), 1e-5
    gradient = np.zeros_like(point)
    for index in np.ndindex(*point.shape):
        up, down = point.copy(), point.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


def check_slopes(
    total: Tensor,
    leaves: Mapping[str, Tensor],
    slow: Callable[[Mapping[str, np.ndarray]], float],
    each: int = 2,
) -> None:
    """Value and gradient of `total` are those of `slow`, along random directions of each leaf."""
    arrays = {name: leaf.detach().numpy().copy() for name, leaf in leaves.items()}
    assert total.item() == pytest.approx(slow(arrays), rel=1e-10)
    gradients = torch.autograd.grad(
        total, list(leaves.values()), materialize_grads=True, retain_graph=True
    )
    rng, step = np.random.default_rng(0), 1e-5
    for (name, point), gradient in zip(arrays.items(), gradients, strict=True):
        for _ in range(each):
            direction = rng.normal(size=point.shape)
            direction /= np.linalg.norm(direction)
            ends = [slow({**arrays, name: point + sign * step * direction}) for sign in (1, -1)]
            expected = (ends[0] - ends[1]) / (2 * step)
            measured = float((gradient.numpy() * direction).sum())
            assert measured == pytest.approx(expected, rel=1e-6, abs=1e-6), name
