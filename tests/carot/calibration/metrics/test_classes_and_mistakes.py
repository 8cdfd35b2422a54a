"""Class by class and the worst mistakes, against literal loops."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from carot.calibration.calibrators.calibrator import from_json
from carot.calibration.metrics.classes_and_mistakes import class_details, worst_mistakes
from carot.calibration.metrics.metrics import compute_metrics
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def softmax(row: list[float]) -> list[float]:
    powers = [math.exp(z - max(row)) for z in row]
    return [p / sum(powers) for p in powers]


def test_classes_by_a_literal_loop() -> None:
    logits, labels = drawn(400, 5, temperature=2.0)
    labels[labels == 4] = 3  # a class without images
    found = class_details(logits, labels)
    assert len(found) == 5
    shares = [softmax(row) for row in logits.tolist()]
    for k, detail in enumerate(found):
        mine = [i for i, label in enumerate(labels.tolist()) if label == k]
        assert detail.images == len(mine)
        if not mine:
            assert (detail.mean_confidence, detail.ece, detail.confused_with) == (None, None, None)
            continue
        answers = {i: shares[i].index(max(shares[i])) for i in mine}
        assert detail.right == sum(answers[i] == k for i in mine)
        assert detail.mean_confidence == pytest.approx(
            sum(max(shares[i]) for i in mine) / len(mine)
        )
        gaps = [0.0] * 15
        for i in mine:
            confidence = max(shares[i])
            gaps[max(0, math.ceil(confidence * 15) - 1)] += (answers[i] == k) - confidence
        assert detail.ece == pytest.approx(sum(map(abs, gaps)) / len(mine))
        wrong = Counter(answers[i] for i in mine if answers[i] != k)
        most = max(wrong.values())
        assert detail.confused == most
        assert detail.confused_with == min(a for a, n in wrong.items() if n == most)
    assert sum(each.right for each in found) / 400 == compute_metrics(logits, labels).accuracy


def test_a_class_without_mistakes() -> None:
    logits = torch.eye(3).repeat(2, 1) * 9
    found = class_details(logits, torch.tensor([0, 1, 2] * 2))
    assert {(each.confused_with, each.confused) for each in found} == {(None, 0)}


def test_mistakes_by_a_literal_loop() -> None:
    raw, labels = drawn(300, 4, temperature=2.0)
    log = (raw / 2).log_softmax(1)
    count, found = worst_mistakes(log, raw, labels, 10)
    expected = []
    for i, row in enumerate(log.tolist()):
        shares, before = softmax(row), softmax(raw[i].tolist())
        answer, label = shares.index(max(shares)), int(labels[i])
        if answer != label:
            expected.append((i, label, answer, shares[answer], shares[label], before[answer]))
    assert count == len(expected)
    expected.sort(key=lambda each: -each[3])
    for mistake, wanted in zip(found, expected[:10], strict=True):
        shown = (mistake.index, mistake.label, mistake.prediction, mistake.confidence,
                 mistake.label_confidence, mistake.raw_confidence)  # fmt: skip
        assert shown == pytest.approx(wanted)


def test_all_of_them_and_none() -> None:
    raw, labels = drawn(50, 3)
    count, found = worst_mistakes(raw, raw, labels, 1000)
    assert len(found) == count
    right = torch.eye(3) * 5
    assert worst_mistakes(right, right, torch.arange(3), 10) == (0, [])


def test_the_calibrator_decides_what_is_wrong() -> None:
    """One that moves classes changes answers."""
    raw, labels = torch.tensor([[1.0, 0.9], [1.0, -1.0]]), torch.tensor([1, 1])
    vector = {"kind": "vector", "shrinkage": 0.0, "scales": [1.0, 1.0], "offsets": [0.0, 1.0],
              "split": "calibration", "n": 2, "logit_scale": 1.0, "label_set_hash": "x",
              "nll_before": 1.0, "nll_after": 1.0, "converged": True,
              "at_bound": False}  # fmt: skip
    log = from_json(vector).log_probabilities(raw)
    assert worst_mistakes(raw, raw, labels, 5)[0] == 2
    count, [left] = worst_mistakes(log, raw, labels, 5)
    assert (count, left.index) == (1, 1)


def test_what_is_refused() -> None:
    with pytest.raises(CalibrationError):
        class_details(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(CalibrationError):
        worst_mistakes(torch.zeros(2, 3), torch.full((2, 3), torch.nan), torch.zeros(2).long(), 3)
