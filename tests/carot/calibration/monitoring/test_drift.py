"""Drift statistics against scipy, literal loops and their own promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from carot.calibration.monitoring.drift import confidence_drift, effective_number, shift_drift
from carot.errors import CalibrationError


def ones(values: np.ndarray) -> np.ndarray:
    return np.ones(len(values))


@pytest.mark.parametrize("digits", [12, 2, 1])
@pytest.mark.parametrize(("n", "m"), [(300, 500), (40, 1000), (2000, 90)])
def test_the_statistic_is_scipys(n: int, m: int, digits: int) -> None:
    rng = np.random.default_rng(n)
    values, reference = rng.random(n).round(digits), (rng.random(m) ** 1.2).round(digits)
    found = confidence_drift(values, ones(values), reference)
    theirs = stats.ks_2samp(values, reference, method="asymp")
    assert found.ks == pytest.approx(theirs.statistic, abs=1e-12)
    expected = stats.kstwobign.sf(math.sqrt(n * m / (n + m)) * theirs.statistic)
    assert found.p_value == pytest.approx(expected, abs=1e-12)
    # scipy takes the distribution at a finite number, which is a little lower.
    assert found.p_value == pytest.approx(theirs.pvalue, rel=0.35, abs=0.05)


def test_psi_is_its_definition() -> None:
    rng = np.random.default_rng(1)
    values, reference = rng.random(400) ** 2, rng.random(1000)
    found = confidence_drift(values, ones(values), reference)
    ordered = sorted(reference.tolist())
    edges = [ordered[math.ceil(999 * k / 10) - (999 * k % 10 > 0)] for k in range(1, 10)]
    total = 0.0
    for bin_ in range(10):
        inside = [
            [sum(v > edge for edge in edges) == bin_ for v in sample]
            for sample in (values, reference)
        ]
        p, q = ((sum(each) + 0.5) / (len(each) + 5) for each in inside)
        total += (p - q) * math.log(p / q)
    assert found.psi == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 20, 4])
def test_no_drift_alarms_as_rarely_as_promised(levels: int | None) -> None:
    rng = np.random.default_rng(2)
    small = over = 0
    for _ in range(600):
        values, reference = rng.beta(5, 1, 500), rng.beta(5, 1, 400)
        if levels:
            values, reference = (np.ceil(each * levels) / levels for each in (values, reference))
        found = confidence_drift(values, ones(values), reference)
        small += found.p_value <= 0.05
        over += found.psi > found.psi_null_p95
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    assert small / 600 <= limit
    assert over / 600 <= limit
    if levels is None:
        assert small / 600 > 0.02
        assert over / 600 > 0.02


def test_shift_scores_are_two_samples_of_distances() -> None:
    rng = np.random.default_rng(3)
    for n, m in [(200, 263), (50, 10), (1000, 30)]:
        calibration, new = np.sort(rng.gamma(8, size=m)), rng.gamma(9, size=n)
        percentile = np.searchsorted(calibration, new) / m
        found = shift_drift(percentile, ones(new), m)
        theirs = stats.ks_2samp(new, calibration, method="asymp")
        assert found.ks == pytest.approx(theirs.statistic, abs=1e-12)
        assert found.calibration_images == m


def test_shift_scores_without_drift() -> None:
    rng = np.random.default_rng(4)
    small = over = 0
    for _ in range(600):
        calibration, new = np.sort(rng.random(250)), rng.random(3000)
        found = shift_drift(np.searchsorted(calibration, new) / 250, ones(new), 250)
        small += found.p_value <= 0.05
        over += found.psi > found.psi_null_p95
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    assert 0.02 < small / 600 <= limit
    assert 0.02 < over / 600 <= limit


def test_weights_are_repetitions_but_for_what_they_tell() -> None:
    rng = np.random.default_rng(5)
    values, reference = rng.random(100), rng.random(200)
    times = rng.integers(1, 4, 100)
    weighted = confidence_drift(values, times.astype(float), reference)
    repeated = np.repeat(values, times)
    plain = confidence_drift(repeated, ones(repeated), reference)
    assert weighted.ks == pytest.approx(plain.ks, abs=1e-12)
    assert weighted.p_value > plain.p_value
    assert weighted.psi_null_p95 > plain.psi_null_p95
    same = confidence_drift(values, np.full(100, 2.5), reference)
    assert same == confidence_drift(values, ones(values), reference)


def test_weighted_sampling_does_not_look_like_drift() -> None:
    rng = np.random.default_rng(6)
    small = plain = 0
    for _ in range(300):
        reference, values = rng.random(400), rng.random(2000)
        rate = np.where(values < 0.5, 1.0, 0.25)
        kept = rng.random(2000) < rate
        weighted = confidence_drift(values[kept], 1 / rate[kept], reference)
        small += weighted.p_value <= 0.05
        plain += confidence_drift(values[kept], ones(values[kept]), reference).p_value <= 0.05
    assert small / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert plain == 300


def test_effective_number() -> None:
    assert effective_number(np.full(7, 1 / 3)) == 7
    assert effective_number(np.array([1.0, 3.0])) == pytest.approx(16 / 10)


def test_everything_equal() -> None:
    found = confidence_drift(np.ones(30), np.ones(30), np.ones(50))
    assert (found.ks, found.p_value, found.psi, found.psi_null_p95) == (0, 1, 0, 0)
    apart = confidence_drift(np.zeros(30), np.ones(30), np.ones(50))
    assert apart.ks == 1
    assert apart.p_value < 1e-10


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ([], [], "N values"),
        ([0.5], [1.0, 1.0], "N values"),
        ([math.nan], [1.0], "not finite"),
        ([0.5], [0.0], "above 0"),
        ([0.5], [-1.0], "above 0"),
        ([0.5], [math.nan], "above 0"),
    ],
)
def test_nonsense_is_refused(values: list[float], weights: list[float], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        confidence_drift(np.array(values), np.array(weights), np.array([0.5]))
    with pytest.raises(CalibrationError, match=message):
        shift_drift(np.array(values), np.array(weights), 5)


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(CalibrationError, match="calibration images"):
        confidence_drift(np.ones(2), np.ones(2), np.array([]))
    with pytest.raises(CalibrationError, match="calibration images"):
        shift_drift(np.ones(2), np.ones(2), 0)
    with pytest.raises(CalibrationError, match="from 0 to 1"):
        shift_drift(np.array([1.5]), np.ones(1), 5)
