"""What every spec refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from carot.specs import EvaluationSpec, FinetuneSpec, TrainingSpec


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        (TrainingSpec, {"epochs": True}),
        (TrainingSpec, {"learning_rate": True}),
        (EvaluationSpec, {"severities": [1, True]}),
        (EvaluationSpec, {"batch_size": False}),
    ],
)
def test_true_and_false_are_no_numbers(spec: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="should be a valid") as error:
        spec.model_validate(values)
    assert error.value.errors()[0]["loc"][0] in values


def test_numbers_remain_numbers_and_booleans_booleans() -> None:
    document = {
        "model": {"architecture": "carot-mini"},
        "dataset": "builtin:digits",
        "training": {"epochs": 1, "learning_rate": 1e-4},
        "evaluation": {"datasets": [{"name": "a", "dataset": "b", "in_distribution": True}]},
    }
    spec = FinetuneSpec.model_validate(document)
    assert spec.training.epochs == 1
    assert spec.evaluation.datasets is not None
    assert spec.evaluation.datasets[0].in_distribution is True
