"""Coverage that follows labels: the formula, and how soon it is back after a shift."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from carot.calibration.monitoring.online_coverage import (
    RECENT,
    STEP,
    OnlineCoverage,
    label_score,
)
from carot.calibration.sets.conformal import RULES
from carot.calibration.sets.conformal_scores import conformal_scores
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def test_the_threshold_moves_by_the_formula() -> None:
    scores = [0.0, 3.0, 0.2, 1.0, 0.0, 5.0]
    threshold, covered = Fraction(1, 10), 0
    for score in scores:
        held = Fraction(score) <= threshold
        covered += held
        moved = threshold + Fraction(1, 2) * ((0 if held else 1) - Fraction(1, 20))
        threshold = max(Fraction(0), moved)
    found = OnlineCoverage.fresh(0.95, 0.1).update(scores)
    assert STEP == 0.5
    assert found.threshold == pytest.approx(float(threshold))
    assert (found.labels, found.covered) == (6, covered)
    assert found.long_run == covered / 6


def test_scores_are_those_of_lac() -> None:
    logits, labels = drawn(50, 6)
    scores = conformal_scores(logits.softmax(dim=1), "lac", RULES["lac"])
    for row, label in zip(range(50), labels.tolist(), strict=True):
        expected = float(scores[row, label])
        assert label_score(logits[row].tolist(), label) == pytest.approx(expected, abs=1e-12)
    assert label_score([2.0, 2.0, 1.0], 1) == 0.0
    assert label_score([1000.0, 0.0], 1) == 1000.0


def test_one_label_at_a_time_is_the_same_as_many() -> None:
    scores = [abs(math.sin(i)) * 4 for i in range(700)]
    whole = OnlineCoverage.fresh(0.9).update(scores)
    parts = OnlineCoverage.fresh(0.9)
    for score in scores:
        # As it is stored in between.
        stored = parts.update([score]).model_dump(mode="json")
        parts = OnlineCoverage.model_validate(stored)
    assert parts == whole
    assert len(whole.recent) == RECENT


@pytest.mark.parametrize("wrong", [False, True], ids=["less accurate", "all wrong"])
@pytest.mark.parametrize("seed", range(5))
def test_after_a_shift_coverage_is_back_within_300_labels(seed: int, wrong: bool) -> None:
    """A sharp model is right on 99 of 100, then its answers are inverted: logits change sign."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (2500,), generator=generator)
    logits = 2 * torch.randn(2500, 10, generator=generator, dtype=torch.float64)
    logits[torch.arange(2500), labels] += 10.0
    turned = torch.arange(2500) >= 500
    if not wrong:
        turned &= torch.rand(2500, generator=generator) < 0.3
    logits[turned] *= -1
    scores = [label_score(z, y) for z, y in zip(logits.tolist(), labels.tolist(), strict=True)]
    before = OnlineCoverage.fresh(0.95).update(scores[:500])
    assert before.long_run is not None
    assert before.long_run > 0.98
    back = before.update(scores[500:800])
    after = back.update(scores[800:])
    covered = (after.covered - back.covered) / (after.labels - back.labels)
    assert covered == pytest.approx(0.95, abs=0.015)
    # A threshold that stays where it was covers nothing like it.
    stayed = sum(score <= before.threshold for score in scores[800:]) / 1700
    assert stayed < 0.85


def test_in_a_long_calm_nothing_winds_up() -> None:
    calm = OnlineCoverage.fresh(0.95).update([0.0] * 100_000)
    assert calm.threshold == 0.0
    assert calm.update([4.0] * 10).covered == 100_000 + 10 - 9


def test_what_is_no_score_is_refused() -> None:
    for score in (-1.0, math.nan):
        with pytest.raises(CalibrationError):
            OnlineCoverage.fresh(0.9).update([score])
    for label in (-1, 3):
        with pytest.raises(CalibrationError):
            label_score([0.0, 1.0, 2.0], label)
    with pytest.raises(CalibrationError):
        label_score([0.0, math.nan], 0)
