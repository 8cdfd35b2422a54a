"""AUROC and FPR95 against slow literal versions in float64, ties and ends included."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from carot.calibration.metrics.intervals import wilson_interval
from carot.evaluation.separation import auroc, false_acceptance


def samples(
    seed: int, known: int = 60, unseen: int = 45, *, rounded: bool
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn(known, generator=generator, dtype=torch.float64)
    other = torch.randn(unseen, generator=generator, dtype=torch.float64) + 1
    return (one.mul(2).round(), other.mul(2).round()) if rounded else (one, other)


def above(x: float, y: float) -> float:
    return 1.0 if x > y else 0.5 if x == y else 0.0


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_auroc_and_delongs_interval(seed: int, rounded: bool) -> None:
    known, unseen = samples(seed, rounded=rounded)
    area, interval = auroc(known, unseen)
    k, u = known.tolist(), unseen.tolist()
    assert area == pytest.approx(sum(above(x, y) for x, y in product(u, k)) / (len(u) * len(k)))
    truth = [0] * len(k) + [1] * len(u)
    assert area == pytest.approx(roc_auc_score(truth, k + u))
    # DeLong's structural components, written out.
    of_unseen = [sum(above(x, y) for y in k) / len(k) for x in u]
    of_known = [sum(above(x, y) for x in u) / len(u) for y in k]
    variance = sum((v - area) ** 2 for v in of_unseen) / (len(u) - 1) / len(u)
    variance += sum((v - area) ** 2 for v in of_known) / (len(k) - 1) / len(k)
    half = 1.959963984540054 * math.sqrt(variance) / (area * (1 - area))
    logit = math.log(area / (1 - area))
    expected = [1 / (1 + math.exp(-(logit + side * half))) for side in (-1, 1)]
    assert interval == pytest.approx(expected)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Normal samples one standard deviation apart: Φ(1/√2), and P(x ≤ Φ⁻¹(0.95) − 1)."""
    area, share = 0.7602499389065233, 0.7405110271
    held_area = held_share = 0
    for seed in range(200):
        known, unseen = samples(seed, rounded=False)
        low, high = auroc(known, unseen)[1] or (1.0, 0.0)
        held_area += low <= area <= high
        low, high = false_acceptance(known, unseen)[1]
        held_share += low <= share <= high
    assert held_area >= 180
    assert held_share >= 180


@pytest.mark.parametrize(
    ("known", "unseen", "area"),
    [([0.0, 1.0], [2.0, 3.0], 1.0), ([2.0, 3.0], [0.0, 1.0], 0.0), ([1.0], [1.0, 2.0], 0.75),
     ([1.0, 1.0], [1.0, 1.0], 0.5)],
)  # fmt: skip
def test_no_interval_where_nothing_tells_its_width(
    known: list[float], unseen: list[float], area: float
) -> None:
    assert auroc(torch.tensor(known), torch.tensor(unseen)) == (area, None)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("accepted", [0.5, 0.95, 1.0])
def test_fpr95_takes_the_lowest_threshold_that_accepts_enough(
    rounded: bool, accepted: float
) -> None:
    known, unseen = samples(4, rounded=rounded)
    k, u = known.tolist(), unseen.tolist()
    enough = [t for t in k if sum(x <= t for x in k) / len(k) >= accepted]
    expected = sum(x <= min(enough) for x in u) / len(u)
    assert false_acceptance(known, unseen, accepted)[0] == expected


def test_what_ties_with_the_threshold_is_accepted() -> None:
    known, unseen = torch.zeros(20), torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert false_acceptance(known, unseen)[0] == 0.5
    # Of 20 known images 19 are 95 %: the one above does not count, though 0.95 · 20 > 19.
    known = torch.cat([torch.zeros(19), torch.ones(1)])
    assert false_acceptance(known, unseen)[0] == 0.5


def test_the_interval_is_that_of_resampling_both() -> None:
    known, unseen = samples(7, 40, 30, rounded=True)
    share, (low, high) = false_acceptance(known, unseen)
    generator = np.random.default_rng(1)
    found = []
    for _ in range(4000):
        k = np.sort(generator.choice(known.numpy(), len(known)))
        u = generator.choice(unseen.numpy(), len(unseen))
        found.append(np.mean(u <= k[math.ceil(0.95 * len(k)) - 1]))
    wilson = wilson_interval(round(share * len(unseen)), len(unseen))
    expected = np.quantile(found, [0.025, 0.975])
    assert low == pytest.approx(min(wilson[0], expected[0]), abs=1.01 / len(unseen))
    assert high == pytest.approx(max(wilson[1], expected[1]), abs=1.01 / len(unseen))
    assert low < wilson[0]  # the threshold is uncertain as well


def test_none_accepted_is_no_certainty() -> None:
    share, (low, high) = false_acceptance(torch.zeros(50), torch.ones(10))
    assert (share, low) == (0.0, 0.0)
    assert high == pytest.approx(wilson_interval(0, 10)[1])
