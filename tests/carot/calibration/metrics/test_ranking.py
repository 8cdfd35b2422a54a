from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from carot.calibration.metrics.metrics import top_label
from carot.calibration.metrics.ranking import Ranking, ranking
from tests.carot.calibration.drawn_logits import drawn

Answers = list[tuple[float, bool]]

# Sixteenths: many ties, both ends, and exact in half precision.
ANSWERS = st.lists(
    st.tuples(st.integers(0, 16).map(lambda k: k / 16), st.booleans()), min_size=1, max_size=40
)


def ranked(answers: Answers) -> Ranking:
    confidence, correct = zip(*answers, strict=True)
    return ranking(torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct))


def slow_areas(answers: Answers) -> tuple[float, float]:
    """AURC and AUGRC: the mean over all orders in which confidence does not rise."""
    sums, orders = [0.0, 0.0], 0
    for order in permutations(answers):
        levels = [confidence for confidence, _ in order]
        if levels != sorted(levels, reverse=True):
            continue
        orders += 1
        errors = 0
        for k, (_, right) in enumerate(order, start=1):
            errors += not right
            sums[0] += errors / k / len(answers)
            sums[1] += errors / len(answers) / len(answers)
    return sums[0] / orders, sums[1] / orders


@pytest.mark.parametrize("images", [3, 50, 3000])
def test_auroc_is_scikit_learns(images: int) -> None:
    confidence, correct = top_label(*drawn(images, seed=4))
    assert 0 < int(correct.sum()) < images
    for values in (confidence, (confidence * 8).round() / 8):
        expected = roc_auc_score(correct.numpy(), values.numpy())
        assert ranking(values, correct).auroc == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 0.75, 1.0]), st.booleans()), min_size=1))
def test_ties_count_half(answers: Answers) -> None:
    right = [confidence for confidence, correct in answers if correct]
    wrong = [confidence for confidence, correct in answers if not correct]
    if right and wrong:
        pairs = [(r > w) + (r == w) / 2 for r in right for w in wrong]
        assert ranked(answers).auroc == pytest.approx(math.fsum(pairs) / len(pairs))
    else:
        assert ranked(answers).auroc is None


@pytest.mark.parametrize(
    "answers",
    [
        [(1.0, True)],
        [(0.4, False)],
        [(0.9, True), (0.8, False), (0.7, True), (0.2, False), (0.1, False)],
        [(1.0, True), (1.0, False), (1.0, True), (0.5, False), (0.5, True), (0.3, False)],
        [(0.5, False), (0.5, True), (0.5, False), (0.5, True), (0.5, True), (0.5, True)],
    ],
)
def test_areas_are_means_over_the_orders_of_equal_confidences(answers: Answers) -> None:
    found = ranked(answers)
    assert (found.aurc, found.augrc) == pytest.approx(slow_areas(answers), rel=1e-12)


def test_half_the_mass_at_one_knows_no_row_order() -> None:
    confidence = torch.cat((torch.ones(500), torch.linspace(0.2, 0.9, 500)))
    correct = torch.arange(1000) % 4 < 2
    values = set()
    for order in (torch.arange(1000), correct.long().argsort(), (~correct).long().argsort()):
        found = ranking(confidence[order], correct[order])
        values.add((found.auroc, found.aurc, found.augrc))
    assert len(values) == 1


@given(ANSWERS)
def test_augrc_follows_from_auroc(answers: Answers) -> None:
    """Every error counts at its own place and at each place below (Traub et al. 2024, eq. 8)."""
    found, n = ranked(answers), len(answers)
    error = sum(not right for _, right in answers) / n
    expected = error * (error + 1 / n) / 2
    if found.auroc is not None:
        expected += (1 - found.auroc) * error * (1 - error)
    assert found.augrc == pytest.approx(expected, rel=1e-12)
    assert 0 <= found.augrc <= found.aurc <= 1


@given(ANSWERS, st.randoms(use_true_random=False))
def test_only_the_order_of_confidences_counts(answers: Answers, random: object) -> None:
    found = ranked(answers)
    mapped = [(confidence**2 / 2 + 0.25, right) for confidence, right in answers]
    assert ranked(mapped) == found
    random.shuffle(mapped)  # type: ignore[attr-defined]
    assert ranked(mapped) == found
    confidence, correct = zip(*answers, strict=True)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert ranking(torch.tensor(confidence, dtype=dtype), torch.tensor(correct)) == found


def test_the_best_and_the_worst_order() -> None:
    answers = [(0.9, True), (0.8, True), (0.7, False), (0.6, False)]
    assert ranked(answers).auroc == 1.0
    assert ranked(answers).aurc == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert ranked(answers).augrc == pytest.approx((0 + 0 + 1 + 2) / 16)
    assert ranked([(1 - c, right) for c, right in answers]).auroc == 0.0
    wrong = ranked([(0.9, False)] * 7)
    assert (wrong.auroc, wrong.aurc) == (None, 1.0)
