"""Calibrators made for shift, against their formulas written out in numpy's float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from torch import Tensor

from carot.calibration.calibrators.temperature import HIGHEST, fit_temperature, typical_spread
from carot.calibration.shift.perturbation_levels import evenly_falling
from carot.calibration.shift.pseudo_targets import (
    WEIGHT,
    fit_pseudo_temperature,
    mixed,
    mixing_partners,
)
from carot.calibration.shift.regressed_temperature import Domain, fit_regressed_temperature
from carot.calibration.shift.table import SetLogits, shift_calibrated
from carot.calibration.shift.zero_shot import (
    fit_zero_shot_confidence,
    fit_zero_shot_range,
    in_zero_shot_range,
)
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def pair(images: int = 300, classes: int = 6) -> tuple[Tensor, Tensor]:
    """Logits of a sharp model and of a softer one for the same images, float32."""
    sharp, _ = drawn(images, classes, temperature=3.0, seed=1)
    soft, _ = drawn(images, classes, temperature=0.8, seed=2)
    return sharp.float(), (soft + 0.4 * sharp).float()


def test_each_image_gets_the_range_of_its_zero_shot_logits() -> None:
    sharp, soft = pair()
    found = in_zero_shot_range(sharp, soft)
    z, start = sharp.numpy().astype(np.float64), soft.numpy().astype(np.float64)
    for row in range(len(z)):
        share = [(value - min(z[row])) / (max(z[row]) - min(z[row])) for value in z[row]]
        literal = [s * (max(start[row]) - min(start[row])) + min(start[row]) for s in share]
        np.testing.assert_allclose(found[row].numpy(), literal, rtol=1e-12, atol=1e-12)
    assert torch.equal(found.argsort(dim=1), sharp.double().argsort(dim=1))


def test_logits_that_are_all_equal_stay_so() -> None:
    flat = torch.full((1, 3), 7.0)
    found = in_zero_shot_range(flat, torch.tensor([[1.0, 2.0, 4.0]]))
    assert found.tolist() == [[1.0, 1.0, 1.0]]


def test_a_training_loss_may_use_it() -> None:
    logits, zero_shot = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3).double()
    logits.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: in_zero_shot_range(z, zero_shot), (logits,))


def test_one_temperature_gives_the_mean_range() -> None:
    sharp, soft = pair()
    found = fit_zero_shot_range(sharp, soft)
    scaled = sharp.numpy().astype(np.float64) / found
    assert np.ptp(scaled, axis=1).mean() == pytest.approx(
        np.ptp(soft.double().numpy(), axis=1).mean()
    )


def test_one_temperature_gives_the_mean_confidence() -> None:
    sharp, soft = pair()
    found = fit_zero_shot_confidence(sharp, soft)
    aim = softmax(soft.numpy().astype(np.float64), axis=1).max(axis=1).mean()
    reached = softmax(sharp.numpy().astype(np.float64) / found, axis=1).max(axis=1).mean()
    assert reached == pytest.approx(aim, abs=1e-10)
    assert found > 1


def test_a_confidence_out_of_reach_is_the_bound() -> None:
    sharp, _ = pair()
    found = fit_zero_shot_confidence(sharp, torch.zeros_like(sharp))
    assert found == pytest.approx(HIGHEST * typical_spread(sharp))


def most_likely(logits: Tensor, labels: list[int]) -> float:
    """The temperature by scipy, on the likelihood written out."""
    z = logits.numpy().astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = z / math.exp(log_temperature)
        return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(z)), labels]).mean())

    found = minimize_scalar(loss, bounds=(-3, 5), method="bounded", options={"xatol": 1e-10})
    return math.exp(found.x)


def test_pseudo_targets_are_pairs_of_two_classes_labelled_by_the_larger_part() -> None:
    logits, _ = drawn(200, 4, temperature=2.0, seed=3)
    partner = mixing_partners(200, seed=5)
    other, _ = drawn(200, 4, temperature=1.0, seed=4)
    mixture = WEIGHT * logits + (1 - WEIGHT) * logits[partner] + other
    answer = logits.argmax(dim=1).tolist()
    rows = [i for i in range(200) if answer[i] != answer[int(partner[i])]]
    assert 0 < len(rows) < 200
    expected = most_likely(mixture[rows], [answer[i] for i in rows])
    found = fit_pseudo_temperature(mixture, logits, partner)
    assert found == pytest.approx(expected, rel=1e-6)
    # Not that of all pairs.
    assert found != pytest.approx(fit_temperature(mixture, logits.argmax(dim=1)).temperature, 1e-3)


def test_mixing_is_a_permutation_and_a_weighted_mean() -> None:
    partner = mixing_partners(5)
    assert sorted(partner.tolist()) == [0, 1, 2, 3, 4]
    assert torch.equal(partner, mixing_partners(5))
    images = torch.rand(5, 3, 2, 2, dtype=torch.float64)
    expected = 0.65 * images.numpy() + 0.35 * images.numpy()[partner.numpy()]
    np.testing.assert_allclose(mixed(images, partner).numpy(), expected, rtol=1e-12)


def domains_of(width: int = 3, seed: int = 0) -> list[Domain]:
    """Four domains whose best temperature shows in their first feature."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for k, temperature in enumerate((0.5, 1.0, 2.0, 3.0)):
        logits, labels = drawn(1500, 5, temperature=temperature, seed=seed + k)
        features = torch.randn(1500, width, generator=generator, dtype=torch.float64)
        features[:, 0] = temperature + 0.1 * features[:, 0]
        made.append(Domain(logits, labels, features))
    return made


def test_the_temperature_is_regressed_on_features_by_least_squares() -> None:
    domains = domains_of()
    fitted = fit_regressed_temperature(domains)
    found = [most_likely(d.logits_NC, d.labels_N.tolist()) for d in domains]
    assert fitted.domains == pytest.approx(found, rel=1e-5)
    features = np.concatenate([d.features_ND.numpy() for d in domains])
    ones = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    aim = np.repeat(found, 1500)
    theta = np.linalg.solve(ones.T @ ones, ones.T @ aim)
    np.testing.assert_allclose(fitted.weight_D.numpy(), theta[1:], rtol=1e-4, atol=1e-5)
    assert fitted.intercept == pytest.approx(theta[0], abs=1e-4)
    asked = torch.tensor([[2.0, 0.0, 0.0], [-50.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    expected = [theta[0] + 2 * theta[1], min(found), max(found)]
    assert fitted.temperatures(asked).tolist() == pytest.approx(expected, rel=1e-4)
    logits = torch.randn(3, 5)
    divided = logits.numpy().astype(np.float64) / np.array(expected)[:, None]
    np.testing.assert_allclose(fitted.apply(logits, asked).numpy(), divided, rtol=1e-4)


def test_features_that_depend_on_each_other_are_no_obstacle() -> None:
    domains = domains_of()
    twice = [d._replace(features_ND=torch.cat([d.features_ND] * 2, dim=1)) for d in domains]
    asked = domains[1].features_ND
    plain = fit_regressed_temperature(domains).temperatures(asked)
    doubled = fit_regressed_temperature(twice).temperatures(torch.cat([asked] * 2, dim=1))
    np.testing.assert_allclose(doubled.numpy(), plain.numpy(), rtol=1e-8)


def test_noise_levels_let_accuracy_fall_evenly() -> None:
    levels = evenly_falling(lambda noise: 0.1 + 0.8 * math.exp(-noise), 0.1, levels=4)
    # 0.8 exp(−s) = 0.8 (1 − k/4), and the last is out of reach.
    expected = [-math.log(1 - k / 4) for k in (1, 2, 3)]
    assert levels[:3] == pytest.approx(expected, abs=1e-4)
    assert levels[3] == pytest.approx(8.0, abs=1e-4)


def test_the_table_has_each_calibrator_that_there_is_something_for() -> None:
    logits, labels = drawn(400, 5, temperature=2.0)
    sharp, soft = pair(300, 5)
    partner = mixing_partners(300)
    features = torch.randn(400, 3)
    calibration = SetLogits(
        logits,
        labels,
        features_ND=features,
        perturbed_VNC=torch.stack([logits / 2, logits / 3]),
        perturbed_features_VND=torch.stack([features + 1, features + 2]),
    )
    bare = shift_calibrated(SetLogits(logits, labels), SetLogits(sharp, labels[:300]))
    assert list(bare) == ["raw", "temperature"]
    asked = SetLogits(
        sharp,
        labels[:300],
        zero_shot_NC=soft,
        mixed_NC=sharp * 0.7,
        partner_N=partner,
        features_ND=torch.randn(300, 3),
    )
    found = shift_calibrated(calibration, asked)
    assert list(found) == [
        "raw",
        "temperature",
        "zero_shot_range_each",
        "zero_shot_range",
        "zero_shot_confidence",
        "pseudo_targets",
        "perturbed_temperature",
        "regressed_temperature",
    ]
    for name, each in found.items():
        assert each.dtype == torch.float64
        assert torch.equal(each.argmax(dim=1), sharp.argmax(dim=1)), name
    # Labels of the images that are asked about have no part in it.
    other = shift_calibrated(calibration, SetLogits(**{**vars(asked), "labels_N": labels[100:]}))
    assert all(torch.equal(found[name], other[name]) for name in found)


def test_what_cannot_be_fitted_is_refused() -> None:
    sharp, soft = pair(10)
    partner = mixing_partners(10)
    refused: list[Callable[[], object]] = [
        lambda: in_zero_shot_range(sharp, soft[:5]),
        lambda: in_zero_shot_range(sharp, soft * math.nan),
        lambda: fit_zero_shot_range(sharp, torch.zeros_like(sharp)),
        lambda: fit_zero_shot_confidence(sharp[:0], soft[:0]),
        lambda: mixing_partners(1),
        lambda: fit_pseudo_temperature(sharp[:5], sharp, partner),
        lambda: fit_pseudo_temperature(sharp, sharp, partner + 1),
        lambda: fit_pseudo_temperature(soft, torch.eye(6)[:1].expand(10, 6), partner),
        lambda: fit_regressed_temperature(domains_of()[:1]),
        lambda: fit_regressed_temperature(
            [d._replace(features_ND=d.features_ND[:5]) for d in domains_of()]
        ),
        lambda: evenly_falling(lambda _: 0.1, 0.1),
    ]
    for each in refused:
        with pytest.raises(CalibrationError):
            each()
