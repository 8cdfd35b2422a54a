from __future__ import annotations

import torch
from torch import Tensor

from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.no_calibrator import no_calibrator
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.data.label_space import LabelSpace
from carot.evaluation.measuring import measure
from carot.evaluation.undercovered import undercovered
from carot.specs import EvaluationDataset
from carot.warnings import CodedWarning

ROW = EvaluationDataset(name="test", dataset="folder:x", in_distribution=True)
SPACE = LabelSpace(("cat", "dog", "lynx"))


def said(shares: list[float], prior: float) -> CodedWarning | None:
    """Of classes with these shares, which the logits favour in proportion, as far as `prior`."""
    generator = torch.Generator().manual_seed(0)
    share = torch.tensor(shares, dtype=torch.float64)
    labels: Tensor = torch.multinomial(share, 8000, replacement=True, generator=generator)
    logits = torch.randn(8000, 3, generator=generator, dtype=torch.float64)
    logits[torch.arange(8000), labels] += 1.5
    logits += prior * share.log()
    fitting, held = slice(0, 2000), slice(2000, None)
    calibration = Calibration(
        no_calibrator(logits[fitting], labels[fitting]),
        evidence=fit_calibration_evidence(logits[fitting], labels[fitting]),
    )
    row = measure(ROW, logits[held], labels[held], torch.randn(6000, 4), calibration=calibration,
                  skipped=(), space=SPACE)  # fmt: skip
    return undercovered(row)


def test_a_rare_class_that_sets_leave_out_is_named() -> None:
    warning = said([0.9, 0.09, 0.01], prior=1.0)
    assert warning is not None
    assert warning.code == "sets_miss_classes"
    assert warning.names == ("lynx", "dog")
    assert warning.message.startswith("prediction sets for 0.9 hold ")
    assert " of test on average, but " in warning.message
    assert "% of lynx, " in warning.message
    assert "mondrian" in warning.action


def test_classes_alike_are_not() -> None:
    assert said([1 / 3, 1 / 3, 1 / 3], prior=0.0) is None


def test_without_sets_there_is_nothing_to_say() -> None:
    row = measure(ROW, torch.randn(30, 3), torch.arange(30) % 3, torch.randn(30, 4),
                  calibration=None, skipped=(), space=SPACE)  # fmt: skip
    assert undercovered(row) is None
