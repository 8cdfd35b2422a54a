from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from carot.specs import (
    AverageSpec,
    FinetuneMethod,
    FlypMethod,
    SelectionSpec,
    ZeroShotMethod,
    preset,
)
from carot.training.methods import Averaged, Flyp, ZeroShot, averaged
from tests.carot.tiny import tiny_model
from tests.carot.training.methods.batches import wide_model
from tests.carot.training.whole_runs import CAROT, Run

STEPS = 6
WATCHED = "visual.proj"


def density(k: int, last: int, beta: float) -> float:
    """Of Beta(β, β), but for a constant, in Python floats."""
    tau = (k + 0.5) / (last + 1)
    return math.pow(tau * (1.0 - tau), beta - 1.0)


def weights_after(method: Averaged) -> list[np.ndarray]:
    """What the student is at the start and behind each step, told to the method."""
    parameter = method.model.module.get_parameter(WATCHED)
    generator = torch.Generator().manual_seed(3)
    seen = [parameter.detach().numpy().copy()]
    for step in range(STEPS):
        with torch.no_grad():
            moved = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(moved)
        method.after_step(step)
        seen.append(parameter.detach().numpy().copy())
    return seen


def stored(method: Averaged) -> Tensor:
    return method.outcome().module.get_parameter(WATCHED)


@pytest.mark.parametrize(
    ("spec", "first", "beta"),
    [
        (AverageSpec(kind="beta"), 0, 0.5),
        (AverageSpec(kind="beta", beta=2.0), 0, 2.0),
        (AverageSpec(kind="beta", from_fraction=0.5), 3, 0.5),
        (AverageSpec(kind="uniform"), 0, 1.0),
        (AverageSpec(kind="uniform", from_fraction=0.5), 3, 1.0),
        (AverageSpec(kind="uniform", from_fraction=0.99), 5, 1.0),
    ],
)
def test_the_average_matches_a_slow_implementation(
    spec: AverageSpec, first: int, beta: float
) -> None:
    method = Averaged(Flyp(FlypMethod(), wide_model(), STEPS), spec)
    seen = weights_after(method)[first:]
    kappa = [density(k, len(seen) - 1, beta) for k in range(len(seen))]
    expected = sum(k * weights for k, weights in zip(kappa, seen, strict=True)) / math.fsum(kappa)
    np.testing.assert_allclose(stored(method).numpy(), expected, rtol=1e-11, atol=1e-12)


def test_until_it_begins_the_average_is_the_student() -> None:
    method = Averaged(
        Flyp(FlypMethod(), wide_model(), STEPS), AverageSpec(kind="beta", from_fraction=0.5)
    )
    with torch.no_grad():
        method.model.module.get_parameter(WATCHED).mul_(3.0)
    method.after_step(1)
    assert torch.equal(stored(method), method.model.module.get_parameter(WATCHED))


def test_without_an_average_and_without_training_the_method_is_itself() -> None:
    flyp, zero = Flyp(FlypMethod(), tiny_model(), 4), ZeroShot(tiny_model(), 1)
    assert averaged(flyp, AverageSpec()) is flyp
    assert averaged(zero, AverageSpec(kind="beta")) is zero
    assert ZeroShotMethod().name == "zero_shot"
    assert isinstance(averaged(flyp, AverageSpec(kind="uniform")), Averaged)


@pytest.mark.slow
@pytest.mark.parametrize("method", [CAROT, FinetuneMethod()], ids=["carot", "finetune"])
def test_the_student_trains_as_without_and_another_is_stored(method: Any, tmp_path: Path) -> None:
    plain, merged = Run(tmp_path, method), Run(tmp_path, method, average=AverageSpec(kind="beta"))
    start = merged.method.outcome().module.get_parameter(WATCHED).clone()
    plain.fit()
    (tmp_path / "snapshot").rename(tmp_path / "of-plain")
    merged.fit()
    trained = merged.weights()
    for name, value in plain.weights().items():
        assert torch.equal(value, trained[name]), name
    outcome, last = merged.method.outcome(), plain.method.outcome()
    kept = outcome.module.get_parameter(WATCHED)
    end = last.module.get_parameter(WATCHED).detach()
    assert 0 < float((kept - start).norm()) < float((end - start).norm())
    assert (outcome.head_CD is None) == (last.head_CD is None)
    if outcome.head_CD is not None and last.head_CD is not None:
        assert not torch.equal(outcome.head_CD, last.head_CD)


@pytest.mark.parametrize(
    ("average", "place"),
    [
        ({"kind": "median"}, "kind"),
        ({"kind": "beta", "from_fraction": 1.0}, "from_fraction"),
        ({"kind": "beta", "beta": 0.0}, "beta"),
        ({"kind": "beta", "from": 0.5}, "from"),
    ],
)
def test_a_wrong_average_is_refused_by_name(average: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SelectionSpec.model_validate({"average": average})
    [error] = caught.value.errors()
    assert error["loc"] == ("average", place)


@pytest.mark.parametrize("name", ["carot-merged", "carot-trajectory"])
def test_presets_are_the_default_but_for_one_thing(name: str) -> None:
    default, other = dict(preset("carot")["method"]), dict(preset(name)["method"])
    teacher = other.pop("teacher", None)
    assert other == default
    assert (teacher is not None) == (name == "carot-trajectory")
    assert ("selection" in preset(name)) == (name == "carot-merged")
