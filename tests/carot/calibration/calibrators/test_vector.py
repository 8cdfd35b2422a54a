from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch import Tensor

from carot.calibration.calibrators.by_class import LEAST_OF_CLASS
from carot.calibration.calibrators.calibrator import VectorCalibrator
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.calibrators.vector import _Problem, fit_vector
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import skewed


@pytest.mark.parametrize("shrinkage", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("images", [60, 600])
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


def lacking(images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Ten classes, three of them favoured; of the last there are so many images, of others 30."""
    labels = torch.cat([torch.arange(9).repeat_interleave(30), torch.full((images,), 9)])
    return favoured(labels, seed)


def favoured(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(len(labels), 10, generator=generator, dtype=torch.float64)
    logits[torch.arange(len(labels)), labels] += 4.0
    logits[:, :3] += 1.0
    return logits, labels


@pytest.mark.parametrize("images", range(7))
@pytest.mark.parametrize("seed", range(3))
def test_a_class_that_hardly_occurs_keeps_its_answers(images: int, seed: int) -> None:
    fitted = fit_vector(*lacking(images, seed))
    logits, labels = favoured(torch.arange(10).repeat_interleave(300), seed + 100)
    of_it = labels == 9
    raw = float((logits.argmax(1) == labels)[of_it].double().mean())
    served = float((fitted.log_probabilities(logits).argmax(1) == labels)[of_it].double().mean())
    assert served > (0.85 if images < LEAST_OF_CLASS else 0.7) * raw
    if images < LEAST_OF_CLASS:
        assert fitted.seen == (True,) * 9 + (False,)
        assert fitted.offsets[9] == 0.0
        assert fitted.scales[9] == pytest.approx(
            1 / fit_temperature(*lacking(images, seed)).temperature
        )
    else:
        assert fitted.seen is None
    # The classes that were seen gain what they gained.
    right = (fitted.log_probabilities(logits).argmax(1) == labels).double().mean()
    assert right > (logits.argmax(1) == labels).double().mean()
    assert VectorCalibrator.model_validate_json(fitted.model_dump_json()) == fitted


def test_classes_masked_by_finite_logits_change_nothing() -> None:
    logits, labels = favoured(torch.arange(10).repeat_interleave(30), 5)
    plain = fit_vector(logits, labels)
    for mask in (-1e3, -1e6):
        masked = torch.cat((logits, torch.full((300, 4), mask, dtype=torch.float64)), 1)
        fitted = fit_vector(masked, labels)
        torch.testing.assert_close(
            fitted.probabilities(masked)[:, :10], plain.probabilities(logits), rtol=1e-6, atol=1e-9
        )


def test_with_fewer_than_two_classes_it_is_the_temperature() -> None:
    logits, labels = favoured(torch.zeros(40, dtype=torch.int64), 1)
    fitted, plain = fit_vector(logits, labels), fit_temperature(logits, labels)
    torch.testing.assert_close(fitted.probabilities(logits), plain.probabilities(logits))
