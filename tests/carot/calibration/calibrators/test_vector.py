from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.calibrators.vector import _Problem, fit_vector
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import skewed


@pytest.mark.parametrize("shrinkage", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("images", [15, 600])
def test_it_is_what_scipy_finds(images: int, shrinkage: float) -> None:
    logits, labels = skewed(images)
    fitted = fit_vector(logits, labels, shrinkage=shrinkage)
    temperature = fit_temperature(logits, labels).temperature
    u = logits.numpy()
    u = (u - u.mean(1, keepdims=True)) / temperature
    index = np.arange(images), labels.numpy()

    def objective(parameters: np.ndarray) -> float:
        s, b = parameters[:4], parameters[4:]
        penalty = shrinkage / (2 * images) * float(parameters @ parameters)
        return penalty - float(log_softmax(u * (1 + s) + b, axis=1)[index].mean())

    found = minimize(objective, np.zeros(8), method="BFGS", options={"gtol": 1e-9})
    scales, offsets = (1 + found.x[:4]) / temperature, found.x[4:]
    np.testing.assert_allclose(fitted.scales, scales, atol=1e-5)
    np.testing.assert_allclose(fitted.offsets, offsets, atol=1e-5)
    assert fitted.converged
    centred = logits.numpy() - logits.numpy().mean(1, keepdims=True)
    np.testing.assert_allclose(
        fitted.probabilities(logits), softmax(centred * scales + offsets, axis=1), atol=1e-5
    )


def test_gradient_and_hessian_are_those_of_the_value() -> None:
    logits, labels = skewed(40)
    problem = _Problem(logits, labels, 1.3, 0.05)
    at = torch.linspace(-0.5, 0.7, 8, dtype=torch.float64)
    gradient, hessian = problem.derivatives(at)
    step = 1e-5
    for i in range(8):
        move = torch.zeros(8, dtype=torch.float64)
        move[i] = step
        slope = (problem.value(at + move) - problem.value(at - move)) / (2 * step)
        assert float(gradient[i]) == pytest.approx(slope, abs=1e-8)
        ends = [problem.derivatives(at + sign * move)[0] for sign in (1, -1)]
        torch.testing.assert_close(
            hessian[i], (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-8
        )


def test_shrinkage_leads_to_the_temperature() -> None:
    logits, labels = skewed(300)
    plain = fit_temperature(logits, labels)
    fitted = fit_vector(logits, labels, shrinkage=1e9)
    torch.testing.assert_close(
        fitted.probabilities(logits), plain.probabilities(logits), rtol=1e-5, atol=1e-7
    )
    free = fit_vector(logits, labels)
    assert free.nll_after < fitted.nll_after - 0.05
    assert not free.keeps_ranking
    assert not torch.equal(free.probabilities(logits).argmax(1), logits.argmax(1))


def test_a_separable_class_stays_finite() -> None:
    logits = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)).double()
    fitted = fit_vector(logits, logits.argmax(1))
    assert max(map(abs, fitted.offsets)) < 5
    assert fitted.converged


def test_a_shrinkage_must_be_positive() -> None:
    with pytest.raises(CalibrationError, match="above 0") as caught:
        fit_vector(*skewed(20), shrinkage=0.0)
    assert caught.value.field == "shrinkage"
