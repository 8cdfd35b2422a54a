from __future__ import annotations

import pytest
import torch

from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.calibrators.no_calibrator import no_calibrator
from carot.calibration.calibrators.temperature import fit_temperature
from carot.evaluation.measuring import measure
from carot.evaluation.reports import DatasetReport
from carot.evaluation.worse import worse_than_raw
from carot.specs import EvaluationDataset
from tests.carot.calibration.drawn_logits import drawn

ROW = EvaluationDataset(name="test", dataset="folder:x", in_distribution=True)
LOGITS, LABELS = drawn(1000, 5, seed=3)


def served(calibrator: AnyCalibrator | None, images: int = 1000) -> DatasetReport:
    calibration = None if calibrator is None else Calibration(calibrator)
    return measure(ROW, LOGITS[:images], LABELS[:images], torch.randn(images, 4),
                   calibration=calibration, skipped=())  # fmt: skip


def test_a_temperature_at_its_bound_is_worse_than_none() -> None:
    sure = fit_temperature(LOGITS, LOGITS.argmax(1))
    assert sure.at_bound
    said = worse_than_raw(served(sure))
    assert said is not None
    row = served(sure)
    assert row.calibrated is not None
    for figure in (f"{row.raw.ece:.2%} raw", f"{row.calibrated.ece:.2%} calibrated",
                   f"{row.calibrated.nll:.4f} calibrated"):  # fmt: skip
        assert figure in said


def test_what_may_be_chance_is_not_worse() -> None:
    near = fit_temperature(*drawn(300, 5, seed=4))
    assert 0.8 < near.temperature < 1.25
    for images in (30, 1000):
        assert worse_than_raw(served(near, images)) is None


def test_without_a_calibrator_there_is_nothing_to_compare() -> None:
    assert worse_than_raw(served(None)) is None
    assert worse_than_raw(served(no_calibrator(LOGITS, LABELS))) is None
    assert worse_than_raw(served(fit_temperature(LOGITS, LABELS))) is None


def test_no_calibrator_leaves_confidences_as_they_are() -> None:
    row = served(no_calibrator(LOGITS, LABELS))
    assert row.calibrated is not None
    assert row.calibrated.nll == pytest.approx(row.raw.nll)
    assert row.calibrated.accuracy == row.raw.accuracy


def test_a_few_answers_that_are_all_but_certain_and_wrong_are_worse_whatever_the_ece() -> None:
    """As after fitting to training images: ECE falls, and what is wrong costs a fortune."""
    logits = torch.zeros(150, 2, dtype=torch.float64)
    logits[:, 0] = 3.5  # 97 %, right on 147 of 150
    labels = torch.zeros(150, dtype=torch.int64)
    labels[:3] = 1
    sharp = no_calibrator(logits, labels).model_copy(update={"temperature": 0.118})
    row = measure(ROW, logits, labels, torch.randn(150, 4), calibration=Calibration(sharp),
                  skipped=())  # fmt: skip
    assert row.calibrated is not None
    assert row.calibrated.nll > 2 * row.raw.nll
    assert worse_than_raw(row) is not None
