"""Delays of labels that depend on the outcome, and those that may depend on other things."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from carot.calibration.monitoring.delays import Delays, _van_elteren, delays
from carot.calibration.monitoring.e_process import EProcess
from carot.errors import CalibrationError


def stream(seed: int, kind: str, labels: int = 800) -> tuple[Delays, EProcess]:
    """A calibrated model whose labels come after some time, and the test in their order."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(5, 1.2, labels).clip(0.2, 1)
    right = rng.random(labels) < confidence
    scale = {
        "alike": np.full(labels, 100.0),
        "by confidence": 100 * confidence**6 + 5,
        "wrong first": np.where(right, 600.0, 100.0),
        "right first": np.where(right, 100.0, 600.0),
    }[kind]
    seconds = rng.exponential(scale)
    asked = np.arange(labels) * 0.1
    order = np.argsort(asked + seconds)
    test = EProcess.fresh().update(confidence[order], right[order])
    return delays(confidence, right, seconds), test


@pytest.mark.parametrize("kind", ["wrong first", "right first"])
def test_delays_that_depend_on_the_outcome_are_said_beside_the_alarm(kind: str) -> None:
    found = [stream(seed, kind) for seed in range(20)]
    assert all(each.differ for each, _ in found)
    assert all(test.rejects() for _, test in found)  # though every model is calibrated
    when = "sooner" if kind == "wrong first" else "later"
    assert all(f"labels of wrong answers come {when}" in str(each.text) for each, _ in found)
    assert all((each.sooner > 0.5) is (kind == "wrong first") for each, _ in found if each.sooner)


@pytest.mark.parametrize("kind", ["alike", "by confidence"])
def test_delays_that_do_not_are_not(kind: str) -> None:
    found = [stream(seed, kind)[0] for seed in range(100)]
    assert sum(each.differ for each in found) <= 4
    assert {each.text for each in found if not each.differ} == {None}


def test_a_model_that_gets_worse_is_not_taken_for_late_labels() -> None:
    """All labels come in one go, so that older predictions waited longer; they were better, too."""
    differ = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        right = rng.random(800) < 0.9 - 0.3 * np.arange(800) / 800
        waited = np.arange(800, 0, -1, dtype=np.float64)
        differ += delays(np.full(800, 0.8), right, waited).differ
    assert differ <= 4


def test_of_one_stratum_it_is_wilcoxons_test() -> None:
    rng = np.random.default_rng(0)
    seconds = rng.integers(1, 6, 24).astype(np.float64)  # with ties
    right = np.arange(24) % 2 == 0
    sooner, p_value = _van_elteren(~right, seconds, np.zeros(24, dtype=np.int64))
    expected = mannwhitneyu(
        seconds[~right], seconds[right], method="asymptotic", use_continuity=False
    )
    assert p_value == pytest.approx(expected.pvalue)
    assert sooner == pytest.approx(1 - expected.statistic / 144)


def test_medians_and_counts() -> None:
    right = np.array([True, True, False, True])
    found = delays(np.full(4, 0.9), right, np.array([1.0, 3.0, 7.0, 5.0]))
    assert (found.right, found.wrong) == (3, 1)
    assert (found.median_right, found.median_wrong) == (3.0, 7.0)
    assert (found.sooner, found.p_value, found.differ) == (None, None, False)
    alone = delays(np.full(2, 0.9), np.array([True, True]), np.zeros(2))
    assert (alone.wrong, alone.median_wrong) == (0, None)
    nothing = delays(np.zeros(0), np.zeros(0, dtype=np.bool_), np.zeros(0))
    assert (nothing.right, nothing.differ) == (0, False)


def test_equal_delays_say_nothing() -> None:
    right = np.arange(200) % 2 == 0
    found = delays(np.linspace(0.5, 1, 200), right, np.zeros(200))
    assert (found.p_value, found.differ) == (None, False)


def test_nonsense_is_refused() -> None:
    right = np.array([True, False])
    with pytest.raises(CalibrationError, match="of each label"):
        delays(np.zeros(3), right, np.zeros(2))
    with pytest.raises(CalibrationError, match="finite"):
        delays(np.zeros(2), right, np.array([1.0, math.nan]))
