"""Models side by side, against literal loops, scipy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm
from torch import Tensor

from carot.calibration.metrics.comparing import METRICS, compare, contributions, holm, sign_test
from carot.calibration.metrics.differences import debiased_square, mean, paired_difference
from carot.calibration.metrics.metrics import compute_metrics
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def test_contributions_sum_to_the_metrics() -> None:
    logits, labels = drawn(700, temperature=2.0)
    expected = compute_metrics(logits, labels)
    added = contributions(logits, labels)
    functions = (mean, mean, mean, debiased_square)
    for name, rows, metric in zip(METRICS, added, functions, strict=True):
        found = float(metric(rows.sum(0, keepdim=True), 700))
        assert found == pytest.approx(getattr(expected, name), rel=1e-9), name
    # From log-probabilities as from logits.
    for one, other in zip(added, contributions(logits.log_softmax(1), labels), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_brier_by_a_literal_loop() -> None:
    logits, labels = drawn(40, 3)
    found = contributions(logits, labels)[2][:, 0].tolist()
    for i, row in enumerate(logits.tolist()):
        total = sum(math.exp(z) for z in row)
        expected = sum(
            (math.exp(z) / total - (k == int(labels[i]))) ** 2 for k, z in enumerate(row)
        )
        assert found[i] == pytest.approx(expected, rel=1e-12)


def test_all_at_once_as_pair_by_pair() -> None:
    logits, labels = drawn(300, temperature=2.0)
    models = [contributions(logits * scale, labels) for scale in (1.0, 0.5, 2.0)]
    found = compare(models, resamples=200)
    for model, row in zip(models[1:], found, strict=True):
        for tested, mine, its, metric in zip(
            row, model, models[0], (mean, mean, mean, debiased_square), strict=True
        ):
            alone = paired_difference(its, mine, metric, resamples=200)
            assert tested.difference.value == pytest.approx(alone.value, abs=1e-12)
            assert tested.difference.interval == pytest.approx(alone.interval, abs=1e-12)
            assert tested.difference.standard_error == pytest.approx(
                alone.standard_error, abs=1e-12
            )


def test_the_standard_error_of_a_mean() -> None:
    logits, labels = drawn(500)
    rows = [contributions(logits * scale, labels) for scale in (1.0, 1.5)]
    [row] = compare(rows, resamples=4000)
    nll = row[METRICS.index("nll")]
    difference = (rows[1][1] - rows[0][1])[:, 0].numpy()
    error = difference.std() / math.sqrt(500)
    assert nll.difference.standard_error == pytest.approx(error, rel=0.05)
    z = nll.difference.value / nll.difference.standard_error
    assert nll.p_value == pytest.approx(2 * norm.sf(abs(z)), rel=1e-9)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (5, 0), (7, 3), (40, 61), (1, 1)])
def test_the_sign_test_is_scipys(better: int, worse: int) -> None:
    first = torch.tensor([0] * better + [1] * worse + [0, 1, 1])
    second = torch.tensor([1] * better + [0] * worse + [0, 1, 1])
    count = better + worse
    expected = binomtest(better, count, 0.5).pvalue if count else 1.0
    assert sign_test(first, second) == pytest.approx(expected, rel=1e-9)


def test_holm_rejects_what_its_steps_reject() -> None:
    rng = np.random.default_rng(0)
    for alpha in (0.01, 0.05, 0.3):
        for _ in range(50):
            p_values = (rng.random(8) ** 4).tolist()
            rejected: set[int] = set()
            for step, i in enumerate(np.argsort(p_values).tolist()):
                if p_values[i] > alpha / (8 - step):
                    break
                rejected.add(i)
            found = {i for i, p in enumerate(holm(p_values)) if p <= alpha}
            assert found == rejected
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_equal_models_have_no_difference() -> None:
    rows = contributions(*drawn(100))
    [row] = compare([rows, rows])
    assert [(each.difference.value, each.p_value) for each in row] == [(0.0, 1.0)] * 4


def calibrated_pair(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Two models that are equally right, equally sure and calibrated, by different lights."""
    logits = 2 * torch.randn(2, 400, 4, generator=generator, dtype=torch.float64)
    both = logits.softmax(2).mean(0)  # the truth that each sees through its own noise
    labels = torch.multinomial(both, 1, generator=generator).squeeze(1)
    noisy = both.log()[None] + 0.3 * torch.randn(2, 400, 4, generator=generator).double()
    return noisy[0], noisy[1], labels


@pytest.mark.slow
def test_equals_are_seldom_called_different() -> None:
    """At a level of 5 %, in 10 of 200 pairs each; 20 or more has a chance below 1 in 300."""
    generator = torch.Generator().manual_seed(0)
    rejected = dict.fromkeys(METRICS, 0)
    for seed in range(200):
        first, second, labels = calibrated_pair(generator)
        models = [contributions(each, labels) for each in (first, second)]
        for each in compare(models, resamples=200, seed=seed)[0]:
            rejected[each.metric] += each.p_value <= 0.05
    assert max(rejected.values()) < 20, rejected


def test_other_images_are_refused() -> None:
    with pytest.raises(CalibrationError, match="same images"):
        compare([contributions(*drawn(10)), contributions(*drawn(11))])
