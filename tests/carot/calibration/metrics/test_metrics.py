from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from carot.calibration.metrics import inputs, metrics
from carot.calibration.metrics.bins import equal_width_bins
from carot.calibration.metrics.chance_level import chance_level
from carot.calibration.metrics.metrics import (
    batch_mean_ece,
    compute_metrics,
    expected_calibration_error,
    top_label,
    top_label_ece,
)
from carot.calibration.metrics.numbers import Metrics
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn

# Slow and independent: the definitions, one image at a time.


def probabilities(logits: Tensor) -> list[list[float]]:
    rows = []
    for row in logits.double().tolist():
        top = max(row)
        powers = [math.exp(z - top) for z in row]
        rows.append([p / math.fsum(powers) for p in powers])
    return rows


def slow_bin(value: float, bins: int) -> int:
    return next(k for k in range(bins) if value <= (k + 1) / bins or k == bins - 1)


def slow_error(values: list[float], outcomes: list[bool], places: list[int]) -> float:
    total = 0.0
    for place in set(places):
        gaps = [o - c for c, o, p in zip(values, outcomes, places, strict=True) if p == place]
        total += abs(math.fsum(gaps))
    return total / len(values)


def slow_gaps(values: list[float], outcomes: list[bool]) -> list[tuple[int, float]]:
    """Images and |accuracy − confidence| of each of 15 equal-width bins that is not empty."""
    places = [slow_bin(value, 15) for value in values]
    gaps = []
    for place in sorted(set(places)):
        inside = [o - c for c, o, p in zip(values, outcomes, places, strict=True) if p == place]
        gaps.append((len(inside), abs(math.fsum(inside)) / len(inside)))
    return gaps


def slow_metrics(logits: Tensor, labels: Tensor) -> dict[str, float | None]:
    rows, n = probabilities(logits), len(labels)
    tops = [max(row) for row in rows]
    right = [row.index(max(row)) == y for row, y in zip(rows, labels.tolist(), strict=True)]
    ranks = {index: rank for rank, index in enumerate(sorted(range(n), key=lambda i: tops[i]))}
    mass = [ranks[i] * 15 // n for i in range(n)]
    square = 0.0
    for place in range(15):
        members = [i for i in range(n) if mass[i] == place]
        accuracy = sum(right[i] for i in members) / len(members)
        gap = accuracy - math.fsum(tops[i] for i in members) / len(members)
        bias = accuracy * (1 - accuracy) / (len(members) - 1)
        square += len(members) / n * (gap * gap - bias)
    classwise = []
    for k in range(logits.shape[1]):
        column = [row[k] for row in rows]
        is_k = [y == k for y in labels.tolist()]
        classwise.append(slow_error(column, is_k, [slow_bin(p, 15) for p in column]))
    pairs = list(zip(rows, labels.tolist(), strict=True))
    batches = range(0, n, 512)
    places = [slow_bin(c, 10) for c in tops]
    gaps = slow_gaps(tops, right)
    falling = sorted(range(n), key=lambda i: -tops[i])
    errors = [sum(not right[i] for i in falling[: k + 1]) for k in range(n)]
    pairs_right_wrong = sum(right) * (n - sum(right))
    return {
        "accuracy": sum(right) / n,
        "mean_confidence": math.fsum(tops) / n,
        "ece": slow_error(tops, right, [slow_bin(c, 15) for c in tops]),
        "adaptive_ece": slow_error(tops, right, mass),
        "debiased_ece": math.sqrt(max(0.0, square)),
        "debiased_squared": square,
        "ece_l2": math.sqrt(math.fsum(size * gap**2 for size, gap in gaps) / n),
        "ece_max": max((gap for size, gap in gaps if size >= 30), default=None),
        "aurc": math.fsum(e / (k + 1) for k, e in enumerate(errors)) / n,
        "augrc": sum(errors) / n**2,
        "auroc": sum(right[i] and not right[j] for a, i in enumerate(falling) for j in falling[a:])
        / pairs_right_wrong
        if pairs_right_wrong
        else None,
        "brier_top": math.fsum((c - o) ** 2 for c, o in zip(tops, right, strict=True)) / n,
        "classwise_ece": math.fsum(classwise) / len(classwise),
        "nll": -math.fsum(math.log(row[y]) for row, y in pairs) / n,
        "brier": math.fsum((p - (k == y)) ** 2 for row, y in pairs for k, p in enumerate(row)) / n,
        "ece_batch_mean_10_of_512": math.fsum(
            len(tops[b : b + 512])
            * slow_error(tops[b : b + 512], right[b : b + 512], places[b : b + 512])
            for b in batches
        )
        / n,
    }


@pytest.mark.parametrize("images", [60, 1337])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_metrics_match_their_definitions(images: int, temperature: float) -> None:
    logits, labels = drawn(images, temperature=temperature)
    measured = compute_metrics(logits, labels)
    assert measured.images == images
    for name, expected in slow_metrics(logits, labels).items():
        found = getattr(measured, name)
        if expected is None:
            assert found is None, name
        else:
            assert found == pytest.approx(expected, rel=1e-10, abs=1e-12), name


NETCAL = {
    5: 0.25599170310810543,
    10: 0.25599170310810554,
    15: 0.25612989185838986,
    40: 0.2575309173223794,
}
"""`netcal.metrics.ECE(bins).measure(probabilities, labels)` of netcal 1.4.0 on what follows."""


@pytest.mark.parametrize("bins", NETCAL)
def test_ece_matches_netcal(bins: int) -> None:
    # No random numbers, whose stream may change, and confidence on both sides of accuracy.
    image, label = torch.arange(3000, dtype=torch.float64)[:, None], torch.arange(7)
    logits = 3 * torch.sin(0.37 * image * (label + 1) + label)
    labels = torch.where(torch.arange(3000) % 3 > 0, logits.argmax(1), torch.arange(3000) % 7)
    assert top_label_ece(*top_label(logits, labels), bins) == pytest.approx(NETCAL[bins], abs=1e-12)


def test_neither_chunks_nor_the_order_show(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn(1000, 3, temperature=2.0)
    whole = compute_metrics(logits, labels)
    monkeypatch.setattr(inputs, "CHUNK_ELEMENTS", 100)
    monkeypatch.setattr(metrics, "SUMMED_ELEMENTS", 10)
    monkeypatch.setattr(metrics, "BLOCK", 30)
    assert expected_calibration_error(logits, labels) == pytest.approx(whole.ece, rel=1e-9)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    shuffled = compute_metrics(logits[order], labels[order])
    for name in type(whole).model_fields:
        if name != "ece_batch_mean_10_of_512":
            assert getattr(shuffled, name) == pytest.approx(getattr(whole, name), rel=1e-9), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_is_raised_before_anything_else(dtype: torch.dtype) -> None:
    logits, labels = drawn(500, temperature=6.0)
    low = logits.to(dtype)
    assert compute_metrics(low, labels) == compute_metrics(low.double(), labels)
    # In half precision itself, many of these confidences would round to exactly 1.
    assert (low.softmax(1).amax(1) == 1).sum() > (top_label(low, labels)[0] == 1).sum()


RANKED = ("debiased_ece", "debiased_squared", "auroc", "aurc", "augrc")


def test_a_model_that_never_predicts_a_class_is_measured() -> None:
    logits = torch.tensor([[5.0, 1.0, -9.0]]).repeat(30, 1)
    labels = torch.tensor([0, 1, 2] * 10)
    measured = compute_metrics(logits, labels)
    for name, expected in slow_metrics(logits, labels).items():
        if name not in ("adaptive_ece", *RANKED):  # one tie: not what the ranks say
            assert getattr(measured, name) == pytest.approx(expected), name
    assert measured.adaptive_ece == pytest.approx(measured.ece)
    assert measured.auroc == 0.5
    assert measured.aurc == pytest.approx(2 / 3)
    assert measured.smooth_ece == pytest.approx(measured.ece)


def test_extreme_logits_give_finite_numbers() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
    measured = compute_metrics(logits, torch.tensor([0, 0]))
    assert measured.nll == pytest.approx(1e4)
    assert (measured.accuracy, measured.ece, measured.brier) == (0.5, 0.5, 1.0)
    one = compute_metrics(logits[:1], torch.tensor([0]))
    assert (one.ece, one.nll, one.brier, one.debiased_ece) == (0.0, 0.0, 0.0, 0.0)
    assert (one.ece_l2, one.smooth_ece, one.brier_top, one.debiased_squared) == (0.0, 0.0, 0.0, 0.0)
    assert (one.auroc, one.aurc, one.augrc) == (None, 0.0, 0.0)
    assert (one.ece_max, one.debiased_squared_interval) == (None, (0.0, 1.0))
    assert compute_metrics(logits[:1], torch.tensor([1])).augrc == 1.0


def test_only_what_may_be_undefined_is_null() -> None:
    """The fields are optional for reports stored before they were there; new ones have them."""
    measured = compute_metrics(*drawn(600))
    assert None not in measured.model_dump().values()
    for field in Metrics.model_fields.values():
        assert field.description or field.annotation is int
    sure = compute_metrics(torch.tensor([[9.0, 0.0]] * 3), torch.tensor([0, 0, 0]))
    missing = [name for name, value in sure.model_dump().items() if value is None]
    assert missing == ["ece_max", "auroc"]


def test_the_parts_of_the_brier_score_add_up() -> None:
    measured = compute_metrics(*drawn(900, temperature=2.0)).model_dump()
    parts = [measured[f"brier_{part}"] for part in ("reliability", "uncertainty", "within")]
    total = sum(parts) - measured["brier_resolution"]
    assert total == pytest.approx(measured["brier_top"], rel=1e-12)
    assert measured["brier_reliability"] == pytest.approx(measured["ece_l2"] ** 2, rel=1e-12)
    low, high = measured["debiased_squared_interval"]
    assert low <= measured["debiased_squared"] <= high
    assert measured["debiased_ece"] ** 2 == pytest.approx(measured["debiased_squared"])
    # With two classes, the score over both is twice that of the top label.
    two = compute_metrics(*drawn(300, 2, temperature=2.0))
    assert two.brier == pytest.approx(2 * two.model_dump()["brier_top"], rel=1e-12)


def test_a_batch_mean_is_never_below_the_whole() -> None:
    for seed in range(5):
        for temperature in (0.7, 1.0, 2.0):
            confidence, correct = top_label(*drawn(1700, temperature=temperature, seed=seed))
            whole = top_label_ece(confidence, correct, 10)
            assert batch_mean_ece(confidence, correct) >= whole - 1e-12
            assert batch_mean_ece(confidence, correct, batch=1700) == pytest.approx(whole)
    # Perfectly calibrated, and still about 0.03: why the figure is not ECE.
    assert compute_metrics(*drawn(10_000, 10)).ece_batch_mean_10_of_512 > 0.025
    assert compute_metrics(*drawn(10_000, 10)).ece < 0.013


def test_the_chance_level_is_where_a_calibrated_model_lies() -> None:
    below = []
    for seed in range(40):
        measured = compute_metrics(*drawn(600, seed=seed))
        assert 0 < measured.ece_null_mean < measured.ece_null_p95
        below.append(measured.ece <= measured.ece_null_p95)
    # 38 expected; fewer than 33 has a chance below 1 in 1000.
    assert sum(below) >= 33
    miscalibrated = compute_metrics(*drawn(600, temperature=3.0))
    assert miscalibrated.ece > 2 * miscalibrated.ece_null_p95


def test_the_chance_level_falls_with_the_number_of_images() -> None:
    """And is, by the central limit theorem, Σ_b √(2/π Σ_{i in b} c_i (1 − c_i)) / N."""
    levels = {}
    for images in (1000, 10_000):
        confidence = torch.linspace(0.0005, 0.9995, images, dtype=torch.float64)
        levels[images] = chance_level(confidence)
        variance = torch.bincount(equal_width_bins(confidence, 15), confidence * (1 - confidence))
        expected = float((variance * 2 / math.pi).sqrt().sum()) / images
        assert levels[images][0] == pytest.approx(expected, rel=0.04)
    assert levels[1000][0] / levels[10_000][0] == pytest.approx(math.sqrt(10), rel=0.1)
    assert chance_level(torch.ones(50)) == (0.0, 0.0)
    confidence = top_label(*drawn(300))[0]
    assert chance_level(confidence) == chance_level(confidence.flip(0))
    assert chance_level(confidence) != chance_level(confidence, seed=1)


NAN, INFINITE = math.nan, math.inf


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "no images"),
        (torch.zeros(2, 1), torch.tensor([0, 0]), "one class"),
        (torch.zeros(2, 3), torch.tensor([0]), "N labels"),
        (torch.zeros(3), torch.tensor([0, 0, 0]), "shape"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "0 to 2"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "0 to 2"),
        (torch.tensor([[0.0, NAN], [0.0, 1.0]]), torch.tensor([0, 1]), "1 of 2 rows"),
        (torch.tensor([[0.0, -INFINITE]]), torch.tensor([0]), "not finite"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 1]), "floating-point"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "class indices"),
        (torch.zeros(2, 3), torch.tensor([True, False]), "class indices"),
    ],
)
def test_nonsense_is_refused(logits: Tensor, labels: Tensor, message: str) -> None:
    measures: list[Any] = [compute_metrics, top_label]
    for measure in measures:
        with pytest.raises(CalibrationError, match=message):
            measure(logits, labels)


def test_any_integer_labels_do() -> None:
    logits, labels = drawn(50)
    for dtype in (torch.int32, torch.uint8, torch.int16):
        assert compute_metrics(logits, labels.to(dtype)) == compute_metrics(logits, labels)


@pytest.mark.parametrize("block", [1, 64, 4096])
def test_an_ece_in_blocks_is_that_of_the_whole(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn(301, 5, temperature=2.0)
    whole = top_label_ece(*top_label(logits, labels))
    monkeypatch.setattr(metrics, "BLOCK", block)
    assert expected_calibration_error(logits, labels) == pytest.approx(whole, rel=1e-12)
    assert expected_calibration_error(logits.float(), labels) == pytest.approx(whole, rel=1e-6)
    with pytest.raises(CalibrationError):
        expected_calibration_error(logits[:0], labels[:0])


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_of_equal_logits_the_first_is_the_answer(classes: int) -> None:
    logits = drawn(400, classes)[0].round()
    labels = torch.randint(classes, (400,), generator=torch.Generator().manual_seed(0))
    confidence, correct = top_label(logits, labels)
    for row, label, c, o in zip(logits, labels, confidence.tolist(), correct.tolist(), strict=True):
        values = row.tolist()
        assert o == (values.index(max(values)) == int(label))
        assert c == pytest.approx(1 / sum(math.exp(v - max(values)) for v in values), rel=1e-14)


def test_an_ece_of_nothing_is_refused() -> None:
    nothing = torch.zeros(0), torch.zeros(0, dtype=torch.bool)
    for measure in (top_label_ece, batch_mean_ece):
        with pytest.raises(CalibrationError, match="no images"):
            measure(*nothing)
