"""What the calibration split says beside the calibrator."""

from __future__ import annotations

import json

import pytest
import torch

from carot.calibration.calibrators.fitting import Sample, fit_calibrator
from carot.calibration.label_sets import label_set_hash
from carot.calibration.sets.calibration_evidence import (
    CalibrationEvidence,
    fit_calibration_evidence,
)
from carot.calibration.sets.conformal import measure_sets
from carot.calibration.sets.conformal_scores import SCORES
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn

CLASSES = ("a", "b", "c", "d", "e")


def test_they_are_of_the_raw_confidence() -> None:
    logits, labels = drawn(400, 5, seed=1)
    evidence = fit_calibration_evidence(logits, labels, classes=CLASSES)
    raw = logits.double().softmax(1)
    assert sorted(evidence.evidence.confidences) == sorted(raw.amax(1).tolist())
    assert sum(evidence.evidence.correct) == int((raw.argmax(1) == labels).sum())
    assert evidence.label_set_hash == label_set_hash(CLASSES)
    assert evidence.n == 400
    assert set(evidence.sets) == set(SCORES)


def test_they_survive_json() -> None:
    logits, labels = drawn(100, 5, seed=2)
    evidence = fit_calibration_evidence(logits, labels, classes=CLASSES)
    again = CalibrationEvidence.model_validate(json.loads(evidence.model_dump_json()))
    assert again == evidence
    assert again.evidence.at(0.7) == evidence.evidence.at(0.7)


@pytest.mark.parametrize("method", list(SCORES))
def test_coverage_is_exact_on_average_beside_a_calibrator_of_the_same_images(method: str) -> None:
    # The mean over splits: with 40 images a calibrated score would show what it owes to fitting.
    covered = []
    for seed in range(150):
        logits, labels = drawn(540, 5, seed=seed)
        evidence = fit_calibration_evidence(logits[:40], labels[:40])
        fit_calibrator("vector", Sample(logits[:40], labels[:40]))
        raw = logits[40:].double().softmax(1)
        sets = evidence.sets[method].sets(raw, 0.8)  # type: ignore[index]
        covered.append(measure_sets(sets, labels[40:], 0.8).coverage)
    mean = sum(covered) / len(covered)
    assert mean >= 0.8 - 0.012
    assert all(0.5 < each <= 1 for each in covered)


def test_the_risk_is_that_of_the_raw_confidence() -> None:
    logits, labels = drawn(2000, 5, seed=3)
    found = fit_calibration_evidence(logits, labels).risk(0.3)
    raw = logits.double().softmax(1)
    accepted = raw.amax(1) >= found.threshold
    assert int(accepted.sum()) == found.accepted
    assert int((raw.argmax(1) != labels)[accepted].sum()) == found.wrong


def test_what_cannot_be_had_is_refused() -> None:
    logits, labels = drawn(20, 5, seed=4)
    evidence = fit_calibration_evidence(logits, labels)
    with pytest.raises(CalibrationError) as error:
        evidence.risk(0.01)
    assert error.value.field == "max_risk"
    with pytest.raises(CalibrationError):
        fit_calibration_evidence(logits.fill_(torch.nan), labels)
