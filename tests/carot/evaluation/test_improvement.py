"""Whether a model is better than its start and than the commonest class."""

from __future__ import annotations

import pytest
import torch

from carot.evaluation.improvement import improvement_warnings
from carot.evaluation.measuring import measure
from carot.evaluation.reports import DatasetReport
from carot.specs import EvaluationDataset


def row(right: int, images: int = 40, *, commonest: int = 10, sure: float = 2.0) -> DatasetReport:
    """Four classes, of which the first has `commonest` images; `right` of all are answered so."""
    others = [1 + i % 3 for i in range(images - commonest)]
    labels_N = torch.tensor([0] * commonest + others)
    answers_N = torch.where(torch.arange(images) < right, labels_N, (labels_N + 1) % 4)
    logits_NC = sure * torch.nn.functional.one_hot(answers_N, 4).float()
    name = EvaluationDataset(name="test", dataset="folder:x", in_distribution=True)
    features_ND = torch.nn.functional.normalize(torch.randn(images, 5), dim=1)
    return measure(name, logits_NC, labels_N, features_ND, calibration=None, skipped=())


def codes(measured: DatasetReport, start: DatasetReport | None = None) -> list[str]:
    return [each.code for each in improvement_warnings([measured], [start] if start else [])]


def test_the_share_of_the_commonest_class_is_measured() -> None:
    assert row(30, commonest=28).commonest_share == pytest.approx(0.7)


def test_better_than_both_is_nothing_to_tell() -> None:
    assert codes(row(30), row(20)) == []


@pytest.mark.parametrize("right", [0, 9, 10])
def test_no_better_than_the_commonest_class(right: int) -> None:
    assert codes(row(right)) == ["not_better_than_commonest_class"]
    assert codes(row(11)) == []


def test_less_often_right_than_the_start() -> None:
    [warning] = improvement_warnings([row(29)], [row(30)])
    assert warning.code == "not_better_than_start"
    assert "72.5% of test" in warning.message
    assert "75.0%" in warning.message
    assert warning.action


def test_as_often_right_is_better_with_a_higher_likelihood_only() -> None:
    surely, hardly = row(40, sure=5.0), row(40, sure=1.0)
    assert codes(surely, hardly) == []
    assert codes(hardly, surely) == ["not_better_than_start"]
    assert codes(surely, surely) == ["not_better_than_start"]


def test_without_a_row_in_distribution_nothing_can_be_said() -> None:
    shifted = row(0).model_copy(update={"in_distribution": False})
    assert improvement_warnings([shifted], [row(40)]) == []
