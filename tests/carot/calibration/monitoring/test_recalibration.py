"""Recalibration: what is fitted, what judges, and that it does not move on noise."""

from __future__ import annotations

import json
import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from carot.calibration.calibrators.automatic import choose_calibrator
from carot.calibration.calibrators.calibrator import TemperatureCalibrator
from carot.calibration.calibrators.fitting import Sample, fit_calibrator
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.label_sets import label_set_hash
from carot.calibration.monitoring.recalibration import (
    ALONE,
    LEAST_LABELS,
    Recalibration,
    halves,
    recalibrate,
)
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn, skewed

CLASSES = tuple("abcdefg")


def again(logits, labels, current=None, kind="temperature", seed=0) -> Recalibration:
    classes = CLASSES[: logits.shape[1]]
    return recalibrate(logits, labels, current, kind, classes=classes, logit_scale=100.0, seed=seed)


def temperature(value: float) -> TemperatureCalibrator:
    fitted = fit_temperature(*drawn(50))
    return fitted.model_copy(update={"temperature": value})


def test_the_figures_are_what_loops_compute() -> None:
    logits, labels = drawn(401, temperature=2.0, seed=1)
    found = again(logits, labels, temperature(1.3), seed=4)
    fit, held = halves(401, 4)
    assert (found.fitted_on, found.held_out) == (200, 201)
    assert sorted([*fit.tolist(), *held.tolist()]) == list(range(401))
    expected = fit_temperature(logits[fit], labels[fit])
    assert isinstance(found.calibrator, TemperatureCalibrator)
    assert found.calibrator.temperature == pytest.approx(expected.temperature, rel=1e-12)

    def loss(i: int, t: float) -> float:
        z = [float(value) / t for value in logits[i]]
        return math.log(math.fsum(math.exp(v - max(z)) for v in z)) + max(z) - z[int(labels[i])]

    old = [loss(i, 1.3) for i in held.tolist()]
    new = [loss(i, expected.temperature) for i in held.tolist()]
    gains = [a - b for a, b in zip(old, new, strict=True)]
    assert found.nll_current == pytest.approx(math.fsum(old) / 201, rel=1e-12)
    assert found.nll_new == pytest.approx(math.fsum(new) / 201, rel=1e-12)
    assert found.gain == pytest.approx(math.fsum(gains) / 201, rel=1e-9)
    interval = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert found.gain_interval == pytest.approx((interval.low, interval.high), rel=1e-9)
    one_sided = stats.ttest_1samp(gains, 0, alternative="greater")
    assert found.gain_lower_bound == pytest.approx(one_sided.confidence_interval(0.95).low)
    assert found.log_evidence == pytest.approx(math.fsum(gains), rel=1e-9)
    assert found.improves == bool(one_sided.pvalue < 0.05 and math.fsum(gains) >= math.log(20))
    assert found.improves


def test_the_calibrator_says_where_it_comes_from() -> None:
    found = again(*drawn(200))
    assert found.calibrator.split == "labels"
    assert found.calibrator.n == 100
    assert found.calibrator.logit_scale == 100.0
    assert found.calibrator.label_set_hash == label_set_hash(CLASSES)
    assert Recalibration.model_validate(json.loads(found.model_dump_json())) == found


def test_the_division_depends_on_the_seed_alone() -> None:
    logits, labels = drawn(300, temperature=1.5)
    assert again(logits, labels, seed=3) == again(logits, labels, seed=3)
    assert again(logits, labels, seed=3) != again(logits, labels, seed=5)
    float32 = again(logits.float(), labels, seed=3)
    assert float32.gain == pytest.approx(again(logits, labels, seed=3).gain, abs=1e-7)


@pytest.mark.parametrize("labels", [100, 400])
def test_it_seldom_moves_away_from_what_is_right(labels: int) -> None:
    right = temperature(1.0)
    moves = sum(again(*drawn(labels, seed=seed), right).improves for seed in range(200))
    # No better calibrator exists: fewer than one in twenty, with room for chance.
    assert moves / 200 <= 0.05


def test_it_seldom_moves_where_mistakes_are_rare() -> None:
    # Half a hundred labels without a mistake make any sharper temperature look good.
    right, moves, tempting = temperature(1.0), 0, 0
    for seed in range(200):
        logits, _ = drawn(100, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        logits[:, 0] += 9
        labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
        found = again(logits, labels, right)
        moves += found.improves
        tempting += found.gain_lower_bound > 0
    assert moves / 200 <= 0.05
    assert tempting / 200 > 0.1


def test_labels_without_a_mistake_move_nothing() -> None:
    logits, _ = drawn(400)
    found = again(logits / 3, logits.argmax(1), temperature(1.0))
    assert found.log_evidence > 100
    assert found.calibrator.at_bound
    assert not found.improves


def test_it_moves_when_there_is_something_to_gain() -> None:
    moves = sum(
        again(*drawn(400, temperature=2.5, seed=seed), temperature(1.0)).improves
        for seed in range(50)
    )
    assert moves >= 48


@pytest.mark.parametrize("kind", ALONE)
def test_every_kind_that_needs_logits_alone(kind: str) -> None:
    logits, labels = skewed(500)
    found = again(logits, labels, None, kind)
    fit, _ = halves(500, 0)
    expected = fit_calibrator(kind, Sample(logits[fit], labels[fit]))
    assert found.calibrator.kind == kind
    assert torch.equal(
        found.calibrator.log_probabilities(logits), expected.log_probabilities(logits)
    )
    assert found.current_kind is None


def test_auto_chooses_within_the_fitting_half() -> None:
    logits, labels = skewed(1000)
    found = again(logits, labels, temperature(1.0), "auto")
    fit, _ = halves(1000, 0)
    chosen = choose_calibrator(Sample(logits[fit], labels[fit]), ALONE).calibrator
    assert found.calibrator.kind == chosen.kind
    assert found.current_kind == "temperature"


def test_the_same_calibrator_is_no_gain() -> None:
    logits, labels = drawn(200, seed=8)
    fit, _ = halves(200, 0)
    found = again(logits, labels, fit_temperature(logits[fit], labels[fit]))
    assert (found.gain, found.gain_interval, found.improves) == (0, (0, 0), False)


def test_too_few_labels_are_refused() -> None:
    logits, labels = drawn(LEAST_LABELS)
    again(logits, labels)
    with pytest.raises(CalibrationError, match="99 labels are too few") as caught:
        again(logits[1:], labels[1:])
    assert caught.value.field == "labels"


@pytest.mark.parametrize("kind", ["domain_temperature", "perturbed_temperature", "magic"])
def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(CalibrationError, match="recalibration fits temperature") as caught:
        again(*drawn(200), kind=kind)
    assert caught.value.field == "calibrator"


def test_nonsense_is_refused() -> None:
    logits, labels = drawn(200)
    logits[3, 1] = math.nan
    with pytest.raises(CalibrationError, match="not finite"):
        again(logits, labels)


def favoured(labels: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of ten classes, of which the model favours three."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(len(labels), 10, generator=generator, dtype=torch.float64)
    logits[torch.arange(len(labels)), labels] += 4.0
    logits[:, :3] += 1.0
    return logits, labels


@pytest.mark.parametrize("kind", ["vector", "auto"])
@pytest.mark.parametrize("given", [0, 1, 5])
def test_a_class_without_labels_keeps_its_answers(kind: str, given: int) -> None:
    labels = torch.cat([torch.arange(9).repeat_interleave(60), torch.full((given,), 9)])
    logits, labels = favoured(labels)
    found = recalibrate(
        logits, labels, temperature(1.0), kind, classes=list("abcdefghij"), logit_scale=1.0
    )
    assert found.rare_classes == ("j",)
    held, truth = favoured(torch.full((500,), 9), seed=1)
    raw = float((held.argmax(1) == truth).double().mean())
    log = found.calibrator.log_probabilities(held)
    assert float((log.argmax(1) == truth).double().mean()) > 0.85 * raw


def test_what_suppresses_a_class_does_not_improve() -> None:
    """The rare class looks like the frequent one: all but all of it is given up for the other."""
    labels = torch.cat([torch.zeros(4000, dtype=torch.int64), torch.ones(200, dtype=torch.int64)])
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4200, 3, generator=generator, dtype=torch.float64)
    logits[torch.arange(4200), labels] += 1.0
    logits[:, 1] += 1.0
    found = again(logits, labels, temperature(1.0), "vector")
    assert found.log_evidence > 100
    assert found.suppressed is not None
    assert "it takes class 1 from" in found.suppressed
    assert not found.improves
    assert again(*skewed(1000), temperature(1.0), "vector").suppressed is None
