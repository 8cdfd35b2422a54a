from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import beta, binom

from carot.calibration.sets.risk import STARTS, RiskThreshold, fit_risk, images_needed
from carot.errors import CalibrationError

Chance = Callable[[np.ndarray], np.ndarray]
FINE = np.linspace(0, 1, 20_001)


def risk_above(chance: Chance) -> np.ndarray:
    """The true risk of accepting confidences above each point of `FINE`, uniform ones."""
    wrong = chance(FINE)
    cells = (wrong[1:] + wrong[:-1]) / 2
    totals = np.concatenate((np.cumsum(cells[::-1])[::-1], [0.0]))
    counts = np.maximum(np.arange(len(FINE) - 1, -1, -1), 1)
    return totals / counts


def exceeded(chance: Chance, max_risk: float, n: int, splits: int, delta: float) -> tuple[int, int]:
    """For how many splits the true risk is above what was promised, and for how many there is a
    threshold at all.
    """
    risk = risk_above(chance)
    generator = np.random.default_rng(0)
    over = given = 0
    for _ in range(splits):
        confidence = generator.random(n)
        correct = generator.random(n) >= chance(confidence)
        try:
            found = fit_risk(
                torch.from_numpy(confidence), torch.from_numpy(correct), max_risk, delta=delta
            )
        except CalibrationError:
            continue
        given += 1
        over += float(np.interp(found.threshold, FINE, risk)) > max_risk
    return over, given


@pytest.mark.parametrize("n", [200, 1000])
@pytest.mark.parametrize(
    ("name", "chance"),
    [
        ("calibrated", lambda c: 1 - c),
        ("flat at the limit", lambda c: np.full_like(c, 0.2001)),
        ("confidently wrong", lambda c: np.where(c > 0.9, 0.9, 0.05)),
        ("waves", lambda c: 0.2 + 0.15 * np.sin(25 * c)),
        ("a cliff at a start", lambda c: np.where(c > 0.5, 0.199, 0.9)),
    ],
)
def test_the_promise_is_kept(name: str, chance: Chance, n: int) -> None:
    """The risk is above the limit for at most a share δ of splits, whatever the model."""
    splits, delta = 150, 0.1
    over, given = exceeded(chance, 0.2, n, splits, delta)
    # As many as 999 of 1000 simulations would show at a share of δ.
    assert over <= binom.ppf(0.999, splits, delta)
    if name == "calibrated" and n == 1000:
        assert given > 0.9 * splits  # and it is no empty promise


def test_the_threshold_uses_what_the_split_shows() -> None:
    """Of a calibrated model all above 0.6 have a risk of 0.2; a large split comes close."""
    generator = np.random.default_rng(1)
    confidence = generator.random(20_000)
    correct = generator.random(20_000) < confidence
    found = fit_risk(torch.from_numpy(confidence), torch.from_numpy(correct), 0.2)
    assert 0.6 < found.threshold < 0.65
    accepted = confidence >= found.threshold
    assert int(accepted.sum()) == found.accepted
    assert int((~correct[accepted]).sum()) == found.wrong
    bound = beta.ppf(1 - 0.05 / 5, found.wrong + 1, found.accepted - found.wrong)
    assert found.bound == pytest.approx(bound, rel=1e-9)
    assert found.wrong / found.accepted < found.bound <= 0.2
    assert RiskThreshold.model_validate_json(found.model_dump_json()) == found


def slow(confidence: list[float], correct: list[bool], max_risk: float, delta: float) -> float:
    """The sequences as they are told, with scipy; infinite where nothing is accepted."""
    n, best = len(confidence), math.inf
    ordered = sorted(confidence, reverse=True)
    for start in STARTS:
        for step in range(start, 101):
            place = max(1, n * step // 100)
            limit = ordered[place] if place < n else -1.0
            errors = [not o for c, o in zip(confidence, correct, strict=True) if c > limit]
            if not errors or binom.cdf(sum(errors), len(errors), max_risk) > delta / len(STARTS):
                break
            best = min(best, limit)
    return best


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("max_risk", [0.1, 0.3])
def test_it_is_the_slow_implementation(seed: int, max_risk: float) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(5, 400))
    confidence = generator.random(n).round(3 if seed % 2 else 1)  # with many ties
    correct = generator.random(n) < 0.5 + confidence / 2
    limit = slow(confidence.tolist(), correct.tolist(), max_risk, 0.1)
    tensors = torch.from_numpy(confidence), torch.from_numpy(correct)
    if limit == math.inf:
        with pytest.raises(CalibrationError) as caught:
            fit_risk(*tensors, max_risk, delta=0.1)
        assert caught.value.field == "max_risk"
        return
    found = fit_risk(*tensors, max_risk, delta=0.1)
    assert found.threshold == (0.0 if limit < 0 else math.nextafter(limit, math.inf))
    assert found.accepted == int((confidence > limit).sum())


def test_all_are_accepted_where_all_are_right() -> None:
    confidence = torch.linspace(0.1, 1.0, 100)
    found = fit_risk(confidence, torch.ones(100, dtype=torch.bool), 0.05)
    assert (found.threshold, found.accepted, found.wrong) == (0.0, 100, 0)
    tied = fit_risk(torch.ones(100), torch.ones(100, dtype=torch.bool), 0.05)
    assert (tied.threshold, tied.accepted) == (0.0, 100)


def test_too_few_images_say_how_many_it_takes() -> None:
    """Without an error, (1 − 0.05)^m ≤ 0.05 / 5 from 90 images on."""
    assert images_needed(0.05) == 90
    for n, enough in ((89, False), (90, True)):
        confidence, correct = torch.linspace(0, 1, n), torch.ones(n, dtype=torch.bool)
        if enough:
            assert fit_risk(confidence, correct, 0.05).accepted == n
            continue
        with pytest.raises(CalibrationError, match="90 accepted calibration") as e:
            fit_risk(confidence, correct, 0.05)
        assert e.value.field == "max_risk"


def test_no_threshold_reaches_a_risk_below_the_models() -> None:
    confidence = torch.linspace(0, 1, 1000)
    correct = torch.arange(1000) % 2 == 0
    with pytest.raises(CalibrationError, match=r"least that can be shown is 0\.5") as caught:
        fit_risk(confidence, correct, 0.3)
    assert caught.value.field == "max_risk"


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, math.nan])
def test_shares_outside_their_range_are_refused(value: float) -> None:
    confidence, correct = torch.tensor([0.5]), torch.tensor([True])
    with pytest.raises(CalibrationError) as caught:
        fit_risk(confidence, correct, value)
    assert caught.value.field == "max_risk"
    with pytest.raises(CalibrationError) as caught:
        fit_risk(confidence, correct, 0.1, delta=value)
    assert caught.value.field == "delta"


def test_the_least_risk_that_can_be_shown_can_be_asked_for() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        confidence = torch.rand(300, generator=generator, dtype=torch.float64)
        correct = torch.rand(300, generator=generator) < 0.9
        with pytest.raises(CalibrationError) as caught:
            fit_risk(confidence, correct, 0.001)
        found = re.search(r"shown is (0\.\d+);", caught.value.message)
        assert found is not None
        assert fit_risk(confidence, correct, float(found[1])).accepted > 0


def test_where_every_answer_is_wrong_no_risk_is_offered() -> None:
    confidence, wrong = torch.linspace(0, 1, 40), torch.zeros(40, dtype=torch.bool)
    with pytest.raises(CalibrationError) as caught:
        fit_risk(confidence, wrong, 0.5)
    assert "can be shown" not in caught.value.message
