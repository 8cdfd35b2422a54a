"""Smoothed and ensemble temperature, and the weights of mixtures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from carot.calibration.calibrators.ensemble_temperature import fit_ensemble_temperature
from carot.calibration.calibrators.simplex import best_weights
from carot.calibration.calibrators.smoothed_temperature import fit_smoothed_temperature
from carot.calibration.calibrators.temperature import fit_temperature
from tests.carot.calibration.drawn_logits import contaminated, drawn


def softmax(z: np.ndarray) -> np.ndarray:
    power = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(power / power.sum(1, keepdims=True))


def loss(q: np.ndarray, w: np.ndarray) -> float:
    return -float(np.log(q @ w).mean())


def expectation_maximisation(q: np.ndarray, steps: int = 20_000) -> np.ndarray:
    """Slow, and sure never to raise the loss."""
    w = np.full(q.shape[1], 1 / q.shape[1])
    for _ in range(steps):
        w = w * (q / (q @ w)[:, None]).mean(0)
    return w


@pytest.mark.parametrize("images", [1, 30, 1000])
def test_smoothing_is_one_more_image_of_any_class(images: int) -> None:
    logits, labels = drawn(images, 5, temperature=2.0)
    plain, smoothed = fit_temperature(logits, labels), fit_smoothed_temperature(logits, labels)
    expected = (images * softmax(logits.numpy() / plain.temperature) + 1 / 5) / (images + 1)
    np.testing.assert_allclose(smoothed.probabilities(logits), expected, rtol=1e-12)
    assert (smoothed.temperature, smoothed.n) == (plain.temperature, images)


def test_smoothing_pays_where_a_small_split_is_all_right() -> None:
    """Few right answers say nothing of the errors that other images hold."""
    plain: list[float] = []
    smoothed: list[float] = []
    for seed in range(40):
        logits, labels = drawn(4, 3, seed=seed)
        if not torch.equal(logits.argmax(1), labels):
            continue
        others, truth = drawn(2000, 3, seed=100 + seed)
        index = torch.arange(2000), truth
        for fit, losses in ((fit_temperature, plain), (fit_smoothed_temperature, smoothed)):
            log = fit(logits, labels).log_probabilities(others)
            losses.append(-float(log[index].mean()))
    assert len(plain) >= 5
    assert np.mean(smoothed) < 0.7 * np.mean(plain)


@given(
    seed=st.integers(0, 10_000),
    images=st.integers(1, 60),
    components=st.integers(1, 4),
    scale=st.sampled_from([0.1, 1.0, 5.0, 300.0]),
)
@settings(max_examples=80)
def test_weights_are_proved_best(seed: int, images: int, components: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_q = scale * torch.randn(images, components, generator=generator, dtype=torch.float64)
    weights, best = best_weights(log_q)
    assert best
    assert min(weights) >= 0
    assert sum(weights) == pytest.approx(1.0, abs=1e-12)
    q = (log_q - log_q.amax(1, keepdim=True)).exp().numpy()
    w = np.array(weights)
    # The certificate of optimality, by hand; and no other weights do better.
    assert (q / (q @ w)[:, None]).mean(0).max() <= 1 + 1e-9
    assert loss(q, w) <= loss(q, expectation_maximisation(q, 300)) + 1e-12


def test_components_that_are_alike_do_no_harm() -> None:
    log_q = torch.randn(50, 1, generator=torch.Generator().manual_seed(0)).double()
    weights, best = best_weights(torch.cat([log_q, log_q, log_q - 3], dim=1))
    assert best
    assert weights[2] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_ensemble_is_what_scipy_finds(seed: int) -> None:
    logits, labels = contaminated(seed)
    fitted = fit_ensemble_temperature(logits, labels)
    plain = fit_temperature(logits, labels)
    z, index = logits.numpy(), (np.arange(len(labels)), labels.numpy())
    q = np.stack(
        (softmax(z / plain.temperature)[index], softmax(z)[index], np.full(len(labels), 1 / 4)), 1
    )
    found = minimize(
        lambda w: loss(q, w),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    weights = [fitted.tempered_weight, fitted.raw_weight, fitted.uniform_weight]
    np.testing.assert_allclose(weights, found.x, atol=1e-4)
    assert fitted.nll_after <= found.fun + 1e-10
    assert fitted.nll_after < plain.nll_after - 1e-3
    assert fitted.converged
    expected = q @ np.array(weights)
    ours = fitted.probabilities(logits)[torch.arange(len(labels)), labels]
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
