"""What every metric of confidences refuses."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from carot.calibration.metrics.brier import brier_parts
from carot.calibration.metrics.differences import binned
from carot.calibration.metrics.inputs import check_confidences
from carot.calibration.metrics.ranking import ranking
from carot.calibration.metrics.smooth_ece import smooth_ece
from carot.errors import CalibrationError

MEASURES: list[Callable[[Tensor, Tensor], object]] = [
    binned,
    brier_parts,
    check_confidences,
    ranking,
    smooth_ece,
]
TWO = torch.tensor([True, False])


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        (torch.zeros(0), torch.zeros(0, dtype=torch.bool), "no images"),
        (torch.zeros(3), TWO, "N outcomes"),
        (torch.zeros(2, 1), TWO[:, None], "N confidences"),
        (torch.tensor([0.5, math.nan]), TWO, "1 of 2 confidences"),
        (torch.tensor([math.inf, -math.inf]), TWO, "2 of 2 confidences"),
        (torch.tensor([1.0000001, 0.5]), TWO, "from 0 to 1"),
        (torch.tensor([0.5, -0.1]), TWO, "from 0 to 1"),
        (torch.tensor([0, 1]), TWO, "floating-point"),
        (torch.tensor([0.5, 0.6]), torch.tensor([1, 0]), "true or false"),
    ],
)
def test_nonsense_is_refused(
    measure: Callable[[Tensor, Tensor], object], confidence: Tensor, correct: Tensor, message: str
) -> None:
    with pytest.raises(CalibrationError, match=message):
        measure(confidence, correct)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_ends_are_confidences(measure: Callable[[Tensor, Tensor], object]) -> None:
    measure(torch.tensor([0.0, 1.0]), TWO)
    measure(torch.tensor([0.0, 1.0], dtype=torch.bfloat16), TWO)
