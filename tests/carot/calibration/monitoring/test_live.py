"""What a window of predictions shows: figures against loops, weights, and what has no label."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from carot.calibration.metrics.bins import BinStatistics, equal_mass_bins, equal_width_bins
from carot.calibration.metrics.chance_level import chance_level
from carot.calibration.metrics.debiased_interval import debiased_interval
from carot.calibration.metrics.reliability import bars
from carot.calibration.monitoring.live import LiveCalibration, Watched, live_calibration
from carot.calibration.sets.evidence import fit_evidence
from carot.errors import CalibrationError

BINS = 15


def watched(n: int, seed: int = 0, *, gap: float = 0.0, labelled: float = 1.0) -> Watched:
    rng = np.random.default_rng(seed)
    confidence = 0.1 + 0.9 * rng.random(n) ** 0.3
    correct = (rng.random(n) < confidence - gap).astype(np.int8)
    correct[rng.random(n) >= labelled] = -1
    return Watched(confidence, confidence**1.1, rng.random(n), correct, np.ones(n))


@pytest.mark.parametrize("rate", [1.0, 1 / 3, 0.1])
def test_one_rate_is_no_weight(rate: float) -> None:
    rows = replace(watched(700, 1, gap=0.05), weight_N=np.full(700, 1 / rate))
    live = live_calibration(rows, None).measured
    assert live is not None
    confidence, correct = torch.tensor(rows.confidence_N), torch.tensor(rows.correct_N == 1)
    width = BinStatistics.of(confidence, correct, equal_width_bins(confidence, BINS), BINS)
    mass = BinStatistics.of(confidence, correct, equal_mass_bins(confidence, BINS), BINS)
    assert live.labels == live.effective_labels == 700
    assert live.accuracy == pytest.approx(float(correct.double().mean()), abs=1e-12)
    assert live.mean_confidence == pytest.approx(float(confidence.mean()), abs=1e-12)
    assert live.ece == pytest.approx(width.error(), abs=1e-12)
    assert live.debiased_squared == pytest.approx(mass.debiased_square(), abs=1e-12)
    assert live.debiased_squared_interval == pytest.approx(debiased_interval(mass), abs=1e-12)
    expected = chance_level(confidence)
    assert (live.ece_null_mean, live.ece_null_p95) == pytest.approx(expected, abs=1e-12)
    for ours, theirs in zip(live.reliability, bars(width), strict=True):
        assert ours.count == theirs.count
        for name, value in theirs:
            assert getattr(ours, name) == (value and pytest.approx(value, abs=1e-12))


def test_an_integer_weight_is_that_many_images() -> None:
    # Means only: the same image twice tells no more than once, and effective numbers say so.
    rows = watched(400, 2, gap=0.1)
    times = np.where(rows.confidence_N > 0.7, 1, 3)
    repeated = Watched(*(np.repeat(column, times) for column in vars(rows).values()))
    weighted = live_calibration(replace(rows, weight_N=times.astype(float)), None)
    plain = live_calibration(repeated, None)
    assert weighted.expected_accuracy == pytest.approx(plain.expected_accuracy)
    assert weighted.measured is not None
    assert plain.measured is not None
    for name in ("accuracy", "mean_confidence", "ece"):
        assert getattr(weighted.measured, name) == pytest.approx(getattr(plain.measured, name))
    assert weighted.measured.effective_labels < 400
    low, high = weighted.measured.accuracy_interval
    narrow = plain.measured.accuracy_interval
    assert low < narrow[0]
    assert high > narrow[1]


def test_weights_undo_the_logging_of_unsure_answers() -> None:
    # Unsure answers are logged always, sure ones one time in ten; only sure ones are overconfident.
    estimates, plain, squares = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        confidence = 0.5 + 0.5 * rng.random(4000)
        sure = confidence > 0.8
        correct = (rng.random(4000) < confidence - 0.1 * sure).astype(np.int8)
        rate = np.where(sure, 0.1, 1.0)
        kept = rng.random(4000) < rate
        whole = Watched(confidence, confidence, confidence * 0, correct, 1 / rate)
        live = live_calibration(whole.take(kept), None).measured
        assert live is not None
        estimates.append(live.accuracy)
        plain.append(correct[kept].mean())
        squares.append(live.debiased_squared)
    truth = 0.75 - 0.1 * 0.4
    assert np.mean(estimates) == pytest.approx(truth, abs=0.006)
    assert abs(np.mean(plain) - truth) > 0.03
    assert np.mean(squares) == pytest.approx(0.4 * 0.01, abs=0.0012)


@pytest.mark.slow
def test_expected_accuracy_holds_the_accuracy_of_a_calibrated_model() -> None:
    held = 0
    for seed in range(400):
        rows = watched(300, seed)
        live = live_calibration(rows, None)
        assert live.expected_accuracy == pytest.approx(rows.confidence_N.mean())
        assert live.expected_accuracy_interval is not None
        low, high = live.expected_accuracy_interval
        held += low <= rows.correct_N.mean() <= high
    assert abs(held / 400 - 0.95) < 0.035


def test_expected_accuracy_needs_no_labels() -> None:
    rows = watched(50, 3)
    without = replace(rows, correct_N=np.full(50, -1, dtype=np.int8))
    live = live_calibration(without, None)
    assert live.expected_accuracy == live_calibration(rows, None).expected_accuracy
    assert (live.labels, live.measured, live.predictions) == (0, None, 50)


def test_rows_without_a_label_do_not_count() -> None:
    rows = watched(600, 4, labelled=0.4)
    live = live_calibration(rows, None)
    assert live.labels == int((rows.correct_N >= 0).sum()) < 600
    assert live.measured is not None
    alone = live_calibration(rows.take(rows.labelled), None)
    assert alone.measured == live.measured
    assert sum(each.count for each in live.measured.reliability) == live.labels


def test_drift_against_the_calibration_split() -> None:
    rng = np.random.default_rng(5)
    calibration = 0.1 + 0.9 * rng.random(500) ** 0.3
    reference = fit_evidence(torch.tensor(calibration), torch.ones(500, dtype=torch.bool))
    rows = replace(watched(800, 6), raw_confidence_N=0.1 + 0.9 * rng.random(800) ** 0.3)
    live = live_calibration(rows, reference)
    assert live.confidence_drift is not None
    assert live.shift_drift is not None
    assert live.confidence_drift.p_value > 0.01
    assert live.shift_drift.calibration_images == 500
    moved = replace(rows, raw_confidence_N=rows.raw_confidence_N * 0.9, shift_N=rows.shift_N**0.5)
    live = live_calibration(moved, reference)
    assert live.confidence_drift.p_value < 1e-6
    assert live.shift_drift.p_value < 1e-6
    some = replace(moved, shift_N=np.where(np.arange(800) < 100, moved.shift_N, np.nan))
    found = live_calibration(some, reference).shift_drift
    assert found is not None
    assert found.predictions == 100
    none = replace(moved, shift_N=np.full(800, np.nan))
    assert live_calibration(none, reference).shift_drift is None
    assert live_calibration(moved, None).confidence_drift is None


def test_few_rows_and_the_ends() -> None:
    nothing = live_calibration(watched(0), None)
    assert nothing.predictions == 0
    assert nothing.expected_accuracy is None
    ends = np.array([0.0, 1.0])
    for correct in ([0, 1], [1, 0]):
        rows = Watched(ends, ends, ends, np.array(correct, dtype=np.int8), np.array([1.0, 7.0]))
        live = live_calibration(rows, None)
        again = LiveCalibration.model_validate(json.loads(live.model_dump_json()))
        assert again == live
    one = live_calibration(watched(1), None).measured
    assert one is not None
    assert one.debiased_squared_interval == (0.0, 1.0)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("confidence_N", math.nan, "from 0 to 1"),
        ("raw_confidence_N", 1.5, "from 0 to 1"),
        ("weight_N", 0.0, "weights"),
        ("weight_N", math.inf, "weights"),
        ("correct_N", 2, "outcomes"),
    ],
)
def test_nonsense_is_refused(column: str, value: float, message: str) -> None:
    rows = watched(3)
    getattr(rows, column)[1] = value
    with pytest.raises(CalibrationError, match=message):
        live_calibration(rows, None)


def test_columns_fit_together() -> None:
    with pytest.raises(CalibrationError, match="as many rows"):
        live_calibration(replace(watched(3), shift_N=np.zeros(2)), None)


def test_torch_is_not_loaded_before_it_is_needed() -> None:
    names = ("live", "e_process", "drift")
    modules = ", ".join(f"carot.calibration.monitoring.{name}" for name in names)
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
