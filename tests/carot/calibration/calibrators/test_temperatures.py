"""Temperatures fitted for something else: the top class, perturbed images, domains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from torch import Tensor

from carot.calibration.calibrators import top_versus_all
from carot.calibration.calibrators.domain_temperature import fit_domain_temperature
from carot.calibration.calibrators.perturbed_temperature import fit_perturbed_temperature
from carot.calibration.calibrators.rows import Rows
from carot.calibration.calibrators.temperature import (
    HIGHEST,
    LOWEST,
    fit_temperature,
    typical_spread,
)
from carot.calibration.calibrators.top_versus_all import fit_top_versus_all, top_loss
from carot.calibration.metrics.metrics import compute_metrics, top_label
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def binary_cross_entropy(logits: Tensor, labels: Tensor, log_beta: float) -> float:
    """Of the top class' confidence, literally."""
    z = math.exp(log_beta) * logits.numpy()
    top = z.argmax(1)
    is_top = np.eye(z.shape[1], dtype=bool)[top]
    kept = np.where(is_top == (top == labels.numpy())[:, None], z, -np.inf)
    return float((logsumexp(z, axis=1) - logsumexp(kept, axis=1)).mean())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("true", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_top_versus_all_is_what_scipy_finds(seed: int, true: float, classes: int) -> None:
    logits, labels = drawn(400, classes, temperature=true, seed=seed)
    fitted = fit_top_versus_all(logits, labels)
    around = -math.log(fitted.temperature)
    found = minimize_scalar(
        lambda u: binary_cross_entropy(logits, labels, u),
        bounds=(around - 0.2, around + 0.2),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert fitted.temperature == pytest.approx(math.exp(-found.x), rel=1e-5)
    wide = [binary_cross_entropy(logits, labels, around + d / 5) for d in range(-10, 11)]
    assert found.fun <= min(wide) + 1e-12
    assert fitted.temperature == pytest.approx(true, rel=0.3)
    assert (fitted.converged, fitted.at_bound) == (True, False)


def test_with_two_classes_it_is_the_temperature() -> None:
    logits, labels = drawn(500, 2, temperature=1.7)
    expected = fit_temperature(logits, labels).temperature
    assert fit_top_versus_all(logits, labels).temperature == pytest.approx(expected, rel=1e-7)


def test_its_loss_and_slope_are_the_literal_ones() -> None:
    logits, labels = drawn(200, 6, temperature=2.0)
    rows = Rows.of([(logits, labels)], 1.0, with_top=True)
    for u in (-3.0, -0.5, 0.0, 0.7):
        point = top_loss(rows, math.exp(u))
        assert point.loss == pytest.approx(binary_cross_entropy(logits, labels, u), rel=1e-10)
        step = 1e-6
        ends = [binary_cross_entropy(logits, labels, u + d) for d in (-step, step)]
        assert point.slope == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-5, abs=1e-8)
    # Where 1 − c is below what a float64 next to 1 can show, the loss is the logits' gap.
    far = torch.tensor([[900.0, 0.0, -5.0]], dtype=torch.float64)
    certain = Rows.of([(far, torch.tensor([1]))], 1.0, with_top=True)
    assert top_loss(certain, 1.0).loss == pytest.approx(900 - math.log1p(math.exp(-5)))


def test_a_thinned_grid_ends_in_the_same_valley(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn(2000, 5, temperature=1.6)
    plain = fit_top_versus_all(logits, labels).temperature
    monkeypatch.setattr(top_versus_all, "THINNED", 20)
    assert fit_top_versus_all(logits, labels).temperature == pytest.approx(plain, rel=1e-7)


@pytest.mark.parametrize("doubts", [50, 90])
def test_of_two_valleys_it_takes_the_lower(doubts: int) -> None:
    """Not convex in 1/T: wrong answers with one class near and many far cost in between alone."""
    wrong = torch.full((100, 22), -10.0)
    wrong[:, :2] = torch.tensor([0.0, -0.1])
    certain = torch.full((10, 22), -30.0)
    certain[:, :2] = torch.tensor([0.0, -20.0])
    doubtful = torch.full((doubts, 22), -30.0)
    doubtful[:, :2] = torch.tensor([0.0, -0.5])
    logits = torch.cat([wrong, certain, doubtful]).double()
    labels = torch.zeros(len(logits), dtype=torch.int64)
    labels[:100] = 5
    spread = typical_spread(logits)
    ends = -math.log(spread * HIGHEST), -math.log(spread * LOWEST)
    grid = np.linspace(*ends, 400)
    losses = [binary_cross_entropy(logits, labels, u) for u in grid]
    valleys = [i for i in range(1, 399) if losses[i] < min(losses[i - 1], losses[i + 1])]
    assert len(valleys) == 2
    fitted = fit_top_versus_all(logits, labels)
    ours = binary_cross_entropy(logits, labels, -math.log(fitted.temperature))
    assert ours <= min(losses)
    assert abs(-math.log(fitted.temperature) - grid[losses.index(min(losses))]) < 0.05


def test_perturbed_images_are_one_larger_split() -> None:
    clean, labels = drawn(300, 5, temperature=1.2)
    noisy, dark = drawn(300, 5, seed=1)[0], clean / 3
    fitted = fit_perturbed_temperature([clean, noisy, dark], labels, split="augmented")
    stacked = fit_temperature(torch.cat([clean, noisy, dark]), labels.repeat(3))
    assert fitted.temperature == pytest.approx(stacked.temperature, rel=1e-9)
    assert fitted.nll_after == pytest.approx(stacked.nll_after, rel=1e-12)
    assert (fitted.n, fitted.split, fitted.kind) == (300, "augmented", "perturbed_temperature")
    # Made for shift: less sharp than the clean images alone would have it, and better there.
    plain = fit_temperature(clean, labels)
    assert fitted.temperature > plain.temperature
    shifted = drawn(2000, 5, seed=7)[0], drawn(2000, 5, seed=8)[1]
    assert (
        compute_metrics(fitted.log_probabilities(shifted[0]), shifted[1]).ece
        < compute_metrics(plain.log_probabilities(shifted[0]), shifted[1]).ece
    )


def test_no_versions_and_versions_of_other_images_are_refused() -> None:
    logits, labels = drawn(10)
    for versions in ([], [logits, logits[:9]]):
        with pytest.raises(CalibrationError):
            fit_perturbed_temperature(versions, labels)


def by_domain() -> tuple[Tensor, Tensor, list[str]]:
    """Two domains with temperatures of their own, and a third of ten images."""
    parts = [drawn(400, 5, temperature=0.7), drawn(300, 5, temperature=3.0, seed=1)]
    parts.append(drawn(10, 5, temperature=9.0, seed=2))
    logits, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    return logits, labels, ["day"] * 400 + ["night"] * 300 + ["rain"] * 10


def test_every_domain_has_its_own_temperature_if_it_has_the_images() -> None:
    logits, labels, domains = by_domain()
    order = torch.randperm(710, generator=torch.Generator().manual_seed(0))
    fitted = fit_domain_temperature(
        logits[order], labels[order], [domains[i] for i in order.tolist()]
    )
    day = fit_temperature(logits[:400], labels[:400]).temperature
    night = fit_temperature(logits[400:700], labels[400:700]).temperature
    pooled = fit_temperature(logits, labels).temperature
    assert fitted.temperatures["day"] == pytest.approx(day, rel=1e-9)
    assert fitted.temperatures["night"] == pytest.approx(night, rel=1e-9)
    assert set(fitted.temperatures) == {"day", "night"}
    assert fitted.counts == {"day": 400, "night": 300, "rain": 10}
    assert fitted.pooled == pytest.approx(pooled, rel=1e-9)
    assert fitted.nll_after < fit_temperature(logits, labels).nll_after
    # Each row by its own; an unknown domain, a small one and none at all by the pooled one.
    rows = logits[[0, 500, 705, 3]]
    expected = [day, night, pooled, pooled]
    given = fitted.probabilities(rows, ["day", "night", "rain", "moon"])
    for row, temperature, probabilities in zip(rows, expected, given, strict=True):
        np.testing.assert_allclose(probabilities, softmax(row.numpy() / temperature), rtol=1e-6)
    torch.testing.assert_close(fitted.probabilities(rows), fitted.probabilities(rows, ["moon"] * 4))


def test_a_domain_that_determines_no_temperature_takes_the_pooled_one() -> None:
    logits, labels, domains = by_domain()
    labels[:400] = logits[:400].argmax(1)
    fitted = fit_domain_temperature(logits, labels, domains, least=5)
    assert set(fitted.temperatures) == {"night", "rain"}
    confidence, correct = top_label(logits, labels)
    assert fitted.n == len(confidence) == len(correct)


def test_as_many_domains_as_images_are_needed() -> None:
    logits, labels = drawn(10)
    with pytest.raises(CalibrationError, match="9 domains for 10 images") as caught:
        fit_domain_temperature(logits, labels, ["a"] * 9)
    assert caught.value.field == "domains"
    fitted = fit_domain_temperature(logits, labels, ["a"] * 10)
    with pytest.raises(CalibrationError, match="1 domains for 10 images"):
        fitted.probabilities(logits, ["a"])
