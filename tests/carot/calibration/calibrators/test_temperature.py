from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

from carot.calibration.calibrators import temperature as module
from carot.calibration.calibrators.calibrator import TemperatureCalibrator, from_json
from carot.calibration.calibrators.rows import Rows
from carot.calibration.calibrators.temperature import (
    HIGHEST,
    LOWEST,
    fit_temperature,
    typical_spread,
    unmasked_spread,
)
from carot.calibration.calibrators.top_versus_all import fit_top_versus_all
from carot.calibration.metrics import inputs
from carot.calibration.metrics.metrics import compute_metrics
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def scipy_optimum(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Temperature and mean negative log-likelihood found without any of our code."""
    z = logits.double().numpy()
    target = z[range(len(z)), labels.numpy()]

    def nll(log_beta: float) -> float:
        beta = math.exp(log_beta)
        return float((logsumexp(beta * z, axis=1) - beta * target).mean())

    found = minimize_scalar(nll, bounds=(-10, 10), method="bounded", options={"xatol": 1e-10})
    return math.exp(-found.x), found.fun


@pytest.mark.parametrize("true", [0.01, 0.05, 0.3, 1.0, 1.6, 3.0, 10.0, 100.0])
def test_finds_what_scipy_finds(true: float) -> None:
    logits, labels = drawn(1500, 10, temperature=true)
    expected, nll = scipy_optimum(logits, labels)
    fitted = fit_temperature(logits, labels)
    assert fitted.temperature == pytest.approx(expected, rel=1e-5)
    assert fitted.nll_after == pytest.approx(nll, rel=1e-12)
    assert fitted.nll_before == pytest.approx(compute_metrics(logits, labels).nll, rel=1e-12)
    assert fitted.temperature == pytest.approx(true, rel=0.15)
    assert fitted.converged
    assert not fitted.at_bound


def test_a_common_offset_of_a_row_changes_nothing() -> None:
    logits, labels = drawn(400, temperature=1.6)
    offsets = torch.linspace(-1e3, 1e3, 400, dtype=torch.float64)[:, None]
    plain = fit_temperature(logits, labels).temperature
    assert fit_temperature(logits + offsets, labels).temperature == pytest.approx(plain, rel=1e-8)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn(400, temperature=1.6)
    whole = fit_temperature(logits, labels)
    monkeypatch.setattr(inputs, "CHUNK_ELEMENTS", 7 * 33)
    assert fit_temperature(logits, labels).temperature == pytest.approx(whole.temperature, rel=1e-9)


@pytest.mark.parametrize("factor", [1e-6, 0.01, 3.0, 1e6])
def test_logits_times_a_factor_give_the_temperature_times_it(factor: float) -> None:
    logits, labels = drawn(600, temperature=1.6)
    plain, scaled = fit_temperature(logits, labels), fit_temperature(logits * factor, labels)
    assert scaled.temperature == pytest.approx(plain.temperature * factor, rel=1e-8)
    assert scaled.nll_after == pytest.approx(plain.nll_after, rel=1e-9)
    assert not scaled.at_bound


def test_raw_cosines_are_fitted() -> None:
    logits, labels = drawn(1000, 10)
    fitted = fit_temperature((logits / 100).float(), labels, logit_scale=1.0)
    assert fitted.temperature == pytest.approx(0.01, rel=0.1)
    assert (fitted.converged, fitted.at_bound) == (True, False)
    assert fitted.logit_scale == 1.0


def test_many_classes_are_fitted() -> None:
    logits, labels = drawn(300, 1000, temperature=0.5)
    fitted = fit_temperature(logits, labels)
    assert fitted.temperature == pytest.approx(scipy_optimum(logits, labels)[0], rel=1e-5)
    assert not fitted.at_bound


@pytest.mark.parametrize("true", [0.05, 1.6, 30.0])
def test_large_sets_are_searched_in_a_thinned_one_first(
    true: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, labels = drawn(3000, 10, temperature=true)
    plain = fit_temperature(logits, labels)
    monkeypatch.setattr(module, "THINNED", 500)
    passes: list[int] = []
    evaluate = module.likelihood

    def counted(rows: Rows, beta: float) -> module.Point:
        passes.append(rows.images)
        return evaluate(rows, beta)

    monkeypatch.setattr(module, "likelihood", counted)
    thinned = fit_temperature(logits, labels)
    assert thinned.temperature == pytest.approx(plain.temperature, rel=1e-9)
    assert thinned.nll_after == pytest.approx(plain.nll_after, rel=1e-13)
    # One at the raw logits; two or three steps and the one that shows they were enough.
    assert passes.count(3000) <= 5
    assert passes.count(500) >= 3


def test_a_thinned_set_without_an_optimum_misleads_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sixth image is right with ease, the others are not."""
    logits, labels = drawn(3000, 10, temperature=3.0)
    labels[::6] = logits[::6].argmax(1)
    plain = fit_temperature(logits, labels)
    monkeypatch.setattr(module, "THINNED", 500)
    assert fit_temperature(logits, labels).temperature == pytest.approx(plain.temperature, rel=1e-9)


def test_the_spread_is_that_of_a_typical_image() -> None:
    logits, _ = drawn(501, 5)
    expected = sorted(logits.numpy().std(axis=1).tolist())[250]
    assert typical_spread(logits) == pytest.approx(expected, rel=1e-12)
    # Neither images without any preference nor a few wild ones move it far.
    odd = torch.cat([logits, torch.zeros(400, 5), 1e8 * logits[:5]])
    assert typical_spread(odd) == pytest.approx(expected, rel=0.05)
    assert typical_spread(torch.zeros(4, 5)) == 1.0


@pytest.mark.parametrize("factor", [0.01, 1.0])
def test_all_right_has_no_optimum_but_a_bound(factor: float) -> None:
    logits = factor * drawn(200)[0]
    fitted = fit_temperature(logits, logits.argmax(1))
    assert fitted.at_bound
    assert fitted.temperature == pytest.approx(LOWEST * typical_spread(logits))
    assert 0 <= fitted.nll_after < fitted.nll_before


def test_all_right_with_certainty_already_leaves_the_logits_alone() -> None:
    logits = torch.tensor([[1e5, 0.0], [0.0, 1e5]])
    fitted = fit_temperature(logits, torch.tensor([0, 1]))
    assert (fitted.temperature, fitted.nll_before, fitted.nll_after) == (1.0, 0.0, 0.0)
    assert fitted.at_bound


def test_answers_against_the_labels_end_at_the_other_bound() -> None:
    logits, _ = drawn(200)
    fitted = fit_temperature(logits, logits.argmin(1))
    assert fitted.at_bound
    assert fitted.temperature == pytest.approx(HIGHEST * typical_spread(logits))
    # Nearly uniform, all that can be said.
    assert fitted.nll_after == pytest.approx(math.log(7), rel=0.05)


def test_random_labels_call_for_a_temperature_that_says_nothing() -> None:
    logits, _ = drawn(2000)
    labels = torch.randint(7, (2000,), generator=torch.Generator().manual_seed(3))
    fitted = fit_temperature(logits, labels)
    assert fitted.temperature > 10
    assert fitted.nll_after == pytest.approx(math.log(7), rel=0.01)


def test_equal_logits_determine_nothing() -> None:
    fitted = fit_temperature(torch.ones(20, 4), torch.arange(20) % 4)
    assert fitted.at_bound
    assert fitted.temperature == 1.0
    assert fitted.nll_after == pytest.approx(math.log(4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_is_raised_first(dtype: torch.dtype) -> None:
    logits, labels = drawn(1000, temperature=3.0)
    low = logits.to(dtype)
    fitted = fit_temperature(low, labels)
    assert fitted == fit_temperature(low.double(), labels)
    assert fitted.temperature == pytest.approx(3.0, rel=0.15)


def test_extreme_logits_are_fitted() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [1e4, 0.0, -1e4], [0.0, -1e4, 1e4]])
    labels = torch.tensor([0, 1, 2])
    fitted = fit_temperature(logits, labels)
    expected, nll = scipy_optimum(logits, labels)
    assert fitted.temperature == pytest.approx(expected, rel=1e-5)
    assert fitted.nll_after == pytest.approx(nll, rel=1e-12)
    assert not fitted.at_bound


def test_the_fit_never_raises_the_likelihood_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    for seed in range(60):
        images = 1 + seed
        logits = torch.randn(images, 2 + seed % 5, generator=generator) * 10 ** (seed % 7 - 3)
        labels = torch.randint(logits.shape[1], (images,), generator=generator)
        fitted = fit_temperature(logits, labels)
        assert fitted.nll_after <= fitted.nll_before
        assert fitted.converged
        relative = fitted.temperature / typical_spread(logits)
        assert fitted.temperature == 1.0 or LOWEST * 0.999 <= relative <= HIGHEST * 1.001
        calibrated = compute_metrics(logits.double() / fitted.temperature, labels)
        assert calibrated.nll == pytest.approx(fitted.nll_after, rel=1e-9, abs=1e-12)
        assert calibrated.accuracy == compute_metrics(logits, labels).accuracy


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_measured_stays_as_it_was(dtype: torch.dtype) -> None:
    logits, labels = drawn(50)
    given, answers = logits.to(dtype), labels.clone()
    kept = given.clone()
    fit_temperature(given, answers)
    compute_metrics(given, answers)
    assert torch.equal(given, kept)
    assert torch.equal(answers, labels)


def test_a_failed_search_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn(200)
    found = module._Found(beta=200.0, nll=9.0, converged=False, at_bound=False)
    monkeypatch.setattr(module, "_minimise", lambda rows, start: found)
    fitted = fit_temperature(logits, labels)
    assert (fitted.temperature, fitted.converged) == (1.0, False)
    assert fitted.nll_after == fitted.nll_before


def test_a_fit_of_the_optimum_is_one() -> None:
    logits, labels = drawn(800, temperature=2.0)
    first = fit_temperature(logits, labels)
    again = fit_temperature(logits / first.temperature, labels)
    assert again.temperature == pytest.approx(1.0, rel=1e-8)
    assert again.converged


def test_a_calibrator_knows_where_it_comes_from_and_survives_json() -> None:
    logits, labels = drawn(100, 3)
    fitted = fit_temperature(
        logits, labels, logit_scale=14.3, classes=("a", "b", "c"), split="calibration"
    )
    assert (fitted.n, fitted.split, fitted.logit_scale) == (100, "calibration", 14.3)
    assert TemperatureCalibrator.model_validate_json(fitted.model_dump_json()) == fitted
    assert from_json(fitted.to_json()) == fitted
    other = fit_temperature(logits, labels, classes=("b", "a", "c"))
    assert other.label_set_hash != fitted.label_set_hash


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)),
        (torch.tensor([[0.0, math.nan]]), torch.tensor([0])),
        (torch.tensor([[0.0, -math.inf]]), torch.tensor([0])),
        (torch.zeros(2, 3), torch.tensor([0, 3])),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0])),
    ],
)
def test_nonsense_is_refused(logits: Tensor, labels: Tensor) -> None:
    with pytest.raises(CalibrationError):
        fit_temperature(logits, labels)


@pytest.mark.parametrize("mask", [-1e3, -1e4, -65504.0, -3.4e38])
@pytest.mark.parametrize("masked", [1, 5, 90])
@pytest.mark.parametrize("factor", [0.01, 1.0])
def test_finite_masks_move_no_bound(mask: float, masked: int, factor: float) -> None:
    logits, labels = drawn(1000, 10, temperature=1.7)
    logits = 4 * factor * logits
    right = fit_temperature(logits, labels)
    column = torch.full((1000, masked), factor * mask, dtype=torch.float64)
    with_mask = torch.cat((logits, column), 1)
    for fit in (fit_temperature, fit_top_versus_all):
        found, plain = fit(with_mask, labels), fit(logits, labels)
        assert found.temperature == pytest.approx(plain.temperature, rel=1e-6)
        assert (found.at_bound, plain.at_bound) == (False, False)
    assert unmasked_spread([(with_mask, labels)]) == pytest.approx(typical_spread(logits))
    # An offset is a mask as well as a number is.
    shifted = torch.cat((logits, logits[:, :1] + factor * mask), 1)
    assert fit_temperature(shifted, labels).temperature == pytest.approx(right.temperature)


def test_without_masks_all_classes_count() -> None:
    logits, labels = drawn(300, 10)
    labels = labels.clamp_max(4)  # the others do not occur
    assert unmasked_spread([(logits, labels)]) == typical_spread(logits)


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [(17, torch.nan, "1 of 40 rows .* the first is row 17"),
     (0, -torch.inf, "1 of 40 rows .* the first is row 0")],
)  # fmt: skip
def test_errors_name_the_row(row: int, value: float, message: str) -> None:
    logits, labels = drawn(40)
    logits[row, 1] = value
    with pytest.raises(CalibrationError, match=message):
        fit_temperature(logits, labels)


def test_labels_out_of_range_name_the_row() -> None:
    logits, labels = drawn(40)
    labels[[5, 9]] = logits.shape[1]
    with pytest.raises(CalibrationError, match="2 of 40 are not; the first is row 5"):
        fit_temperature(logits, labels)
