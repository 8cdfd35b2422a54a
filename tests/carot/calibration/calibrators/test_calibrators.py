"""What every calibrator promises, whatever its kind."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from carot.calibration.calibrators.calibrator import AnyCalibrator, TemperatureCalibrator, from_json
from carot.calibration.calibrators.fitting import FITS, Sample, fit_calibrator, sample_likelihood
from carot.calibration.metrics.metrics import compute_metrics
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn

KINDS = tuple(FITS)


def sample_of(logits: Tensor, labels: Tensor) -> Sample:
    """With two domains, and with one version of the images that is blurred."""
    domains = ["day" if i % 2 else "night" for i in range(len(labels))]
    return Sample(logits, labels, domains, [logits / 2])


def fitted(kind: str, logits: Tensor, labels: Tensor) -> AnyCalibrator:
    return fit_calibrator(kind, sample_of(logits, labels))


@st.composite
def splits(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Small splits of any scale, with ties among the logits and among the images."""
    images, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    logits = torch.randn(images, classes, generator=generator, dtype=torch.float64)
    logits = (logits * draw(st.sampled_from([1.0, 3.0]))).round(decimals=draw(st.integers(0, 6)))
    labels = torch.randint(classes, (images,), generator=generator)
    if draw(st.booleans()):
        labels = torch.where(
            torch.rand(images, generator=generator) < 0.8, logits.argmax(1), labels
        )
    return logits * draw(st.sampled_from([1e-3, 1.0, 30.0, 1e4])), labels


def keeps_ranking(logits: Tensor, probabilities: Tensor) -> bool:
    """Whether no class overtakes one with a larger logit, in any row."""
    above = logits[:, :, None] > logits[:, None, :]
    return not bool((above & (probabilities[:, :, None] < probabilities[:, None, :])).any())


@pytest.mark.parametrize("kind", KINDS)
@given(split=splits())
@settings(max_examples=40)
def test_probabilities_are_probabilities_and_keep_what_they_promise(
    kind: str, split: tuple[Tensor, Tensor]
) -> None:
    logits, labels = split
    calibrator = fitted(kind, logits, labels)
    probabilities = calibrator.probabilities(logits)
    assert probabilities.dtype == torch.float64
    assert bool(((probabilities >= 0) & (probabilities <= 1)).all())
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(labels)).double())
    if calibrator.keeps_ranking:
        assert keeps_ranking(logits, probabilities)
        top = logits.argmax(1, keepdim=True)
        # Of equal logits those at a row's end may come out a last digit larger.
        chosen = probabilities.gather(1, top)[:, 0]
        torch.testing.assert_close(chosen, probabilities.amax(1), rtol=1e-14, atol=0)
    assert calibrator.kind == kind
    assert calibrator.n == len(labels)
    assert math.isfinite(calibrator.nll_before)
    assert math.isfinite(calibrator.nll_after)
    again = from_json(json.loads(json.dumps(calibrator.to_json())))
    assert again == calibrator
    assert torch.equal(again.probabilities(logits), probabilities)


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihoods_are_those_of_the_split(kind: str) -> None:
    logits, labels = drawn(400, 5, temperature=2.0)
    sample = sample_of(logits, labels)
    calibrator = fit_calibrator(kind, sample)
    p = logits.numpy()
    p = np.exp(p - p.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    before = -float(np.log(p[np.arange(400), labels.numpy()]).mean())
    after = float(sample_likelihood(calibrator, sample).mean())
    if kind == "perturbed_temperature":  # over both versions
        half = Sample(logits / 2, labels)
        after = (after + float(sample_likelihood(calibrator, half).mean())) / 2
        assert calibrator.nll_before != pytest.approx(before)
    else:
        assert calibrator.nll_before == pytest.approx(before, rel=1e-10)
        literal = -calibrator.probabilities(logits)[torch.arange(400), labels].log().mean()
        if kind != "domain_temperature":
            assert after == pytest.approx(float(literal), rel=1e-9)
    assert calibrator.nll_after == pytest.approx(after, rel=1e-9)
    assert calibrator.nll_after < calibrator.nll_before
    assert calibrator.converged
    assert not calibrator.at_bound


@pytest.mark.parametrize("kind", KINDS)
def test_miscalibration_goes(kind: str) -> None:
    logits, labels = drawn(4000, 5, temperature=2.5)
    other = drawn(4000, 5, temperature=2.5, seed=1)
    calibrator = fit_calibrator(kind, Sample(logits, labels, ["a"] * 4000, [logits]))
    raw = compute_metrics(*other)
    after = compute_metrics(calibrator.log_probabilities(other[0]), other[1])
    assert raw.ece > 0.15
    assert after.ece < 0.03
    assert after.nll < raw.nll


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 1000])
def test_few_and_many_classes(kind: str, classes: int) -> None:
    logits, labels = drawn(60, classes, temperature=1.5)
    if kind == "vector" and classes == 1000:
        with pytest.raises(CalibrationError, match="at most 100 classes, not 1000"):
            fitted(kind, logits, labels)
        return
    probabilities = fitted(kind, logits, labels).probabilities(logits)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(60).double())


@pytest.mark.parametrize("kind", KINDS)
def test_one_image(kind: str) -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    for label in range(3):
        calibrator = fitted(kind, logits, torch.tensor([label]))
        assert bool(calibrator.probabilities(logits).isfinite().all())
    # One right answer is no proof of certainty.
    careful = fitted("smoothed_temperature", logits, torch.tensor([0]))
    assert careful.at_bound
    assert float(careful.probabilities(logits).max()) < 0.67


@pytest.mark.parametrize("kind", KINDS)
def test_a_separable_split_ends_at_a_bound_and_says_so(kind: str) -> None:
    logits = drawn(200, 4)[0]
    calibrator = fitted(kind, logits, logits.argmax(1))
    assert calibrator.at_bound
    assert bool(calibrator.log_probabilities(logits).isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
def test_constant_logits_stay_uniform(kind: str) -> None:
    """All that is known is how often each class occurs, and vector scaling alone may use it."""
    logits, labels = torch.full((40, 4), 3.0), torch.arange(40) % 4
    probabilities = fitted(kind, logits, labels).probabilities(logits)
    torch.testing.assert_close(probabilities, torch.full((40, 4), 0.25).double())


@pytest.mark.parametrize("kind", KINDS)
def test_confidences_of_zero_and_one(kind: str) -> None:
    """Logits so far apart that softmax says 1 and 0, and is wrong for one image in ten."""
    logits = torch.zeros(100, 3, dtype=torch.float64)
    logits[torch.arange(100), torch.arange(100) % 3] = 2000.0
    labels = torch.arange(100) % 3
    labels[::10] = (labels[::10] + 1) % 3
    calibrator = fitted(kind, logits, labels)
    blurred = kind == "perturbed_temperature"  # half of its images have half the logits
    assert calibrator.nll_before == pytest.approx(150.0 if blurred else 200.0)
    assert calibrator.nll_after < 2.0
    assert bool(calibrator.probabilities(logits).isfinite().all())
    if kind == "isotonic":
        top = calibrator.probabilities(logits).amax(1)
        torch.testing.assert_close(top, torch.full((100,), 0.9).double())


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_is_never_predicted_nor_occurs(kind: str) -> None:
    logits, labels = drawn(300, 4, temperature=2.0)
    logits = torch.cat([logits, torch.full((300, 1), -50.0).double()], dim=1)
    probabilities = fitted(kind, logits, labels).probabilities(logits)
    assert bool((probabilities[:, 4] <= probabilities[:, :4].amin(1)).all())
    assert bool(probabilities.isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_is_raised_first(kind: str, dtype: torch.dtype) -> None:
    logits, labels = drawn(300, 4, temperature=2.0)
    low = logits.to(dtype)
    sample = Sample(low, labels, ["a"] * 300, [low])
    raised = Sample(low.double(), labels, ["a"] * 300, [low.double()])
    one, other = fit_calibrator(kind, sample), fit_calibrator(kind, raised)
    torch.testing.assert_close(
        one.probabilities(low), other.probabilities(low.double()), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_common_offset_of_a_row_changes_nothing(kind: str) -> None:
    logits, labels = drawn(300, 4, temperature=2.0)
    moved = logits + torch.linspace(-100, 100, 300, dtype=torch.float64)[:, None]
    probabilities = fitted(kind, logits, labels).probabilities(logits)
    again = fitted(kind, moved, labels).probabilities(moved)
    torch.testing.assert_close(again, probabilities, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)),
        (torch.tensor([[0.0, math.nan]]), torch.tensor([0])),
        (torch.tensor([[0.0, -math.inf]]), torch.tensor([0])),
        (torch.tensor([[math.inf, -math.inf]]), torch.tensor([0])),
        (torch.zeros(2, 3), torch.tensor([0, 3])),
    ],
)
def test_nonsense_is_refused(kind: str, logits: Tensor, labels: Tensor) -> None:
    with pytest.raises(CalibrationError):
        fitted(kind, logits, labels)


def test_todays_files_stay_readable() -> None:
    """As written before there were other kinds."""
    written = {
        "kind": "temperature",
        "temperature": 1.5,
        "split": "calibration",
        "n": 180,
        "logit_scale": 14.3,
        "label_set_hash": "ab" * 32,
        "nll_before": 0.4,
        "nll_after": 0.3,
        "converged": True,
        "at_bound": False,
    }
    calibrator = from_json(written)
    assert isinstance(calibrator, TemperatureCalibrator)
    assert calibrator.to_json() == written
    logits = torch.tensor([[3.0, 0.0]])
    assert float(calibrator.probabilities(logits)[0, 0]) == pytest.approx(1 / (1 + math.exp(-2)))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "magic"},
        {"kind": "isotonic"},
        {"temperature": 0.0},
        {"temperature": math.inf},
        {"more": 1},
        {"n": None},
    ],
)
def test_torn_data_are_refused(change: dict[str, object]) -> None:
    whole = fitted("temperature", *drawn(20)).to_json()
    with pytest.raises(CalibrationError, match="no calibrator"):
        from_json({**whole, **change})


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("isotonic", {"values": (0.5, 0.4)}),
        ("isotonic", {"confidences": (0.5, 0.5)}),
        ("isotonic", {"values": (0.5,)}),
        ("ensemble_temperature", {"uniform_weight": 0.9}),
        ("vector", {"offsets": (0.0,) * 3}),
    ],
)
def test_data_that_contradict_themselves_are_refused(kind: str, change: dict[str, object]) -> None:
    whole = fitted(kind, *drawn(20)).to_json()
    if kind == "isotonic":
        whole |= {"confidences": (0.2, 0.6), "values": (0.4, 0.5)}
        from_json(whole)
    with pytest.raises(CalibrationError):
        from_json({**whole, **change})


def test_an_unknown_kind_names_its_field() -> None:
    with pytest.raises(CalibrationError, match="there are temperature, smoothed") as caught:
        fitted("platt", *drawn(20))
    assert caught.value.field == "calibrator"


def test_a_vector_knows_its_classes() -> None:
    with pytest.raises(CalibrationError, match="fitted for 7 classes, not 5"):
        fitted("vector", *drawn(50, 7)).probabilities(drawn(3, 5)[0])
