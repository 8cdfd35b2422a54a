from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from carot.specs import LpFtMethod, TrainingSpec
from carot.training.methods import LpFt
from carot.training.schedules import learning_rate_at
from tests.carot.training.methods.batches import WIDTH, drawn, wide_model


def lp_ft(total: int = 20, **changes: Any) -> LpFt:
    return LpFt(LpFtMethod(**changes), wide_model(), total, drawn(3, WIDTH))


def test_each_part_has_a_warm_up_and_a_decay_of_its_own() -> None:
    method = lp_ft(40, probe_fraction=0.25, probe_learning_rate=0.1)
    spec = TrainingSpec(learning_rate=3e-5, warmup_fraction=0.2)
    rates = [method.learning_rate(step, spec) for step in range(40)]
    assert rates[:10] == [learning_rate_at(step, 10, 0.1, 0.2) for step in range(10)]
    assert rates[10:] == [learning_rate_at(step, 30, 3e-5, 0.2) for step in range(30)]
    assert max(rates[:10]) == pytest.approx(0.1)
    assert max(rates[10:]) == pytest.approx(3e-5)


@pytest.mark.parametrize(
    ("fraction", "total", "expected"),
    [(0.5, 20, 10), (0.3, 20, 6), (0.01, 20, 1), (0.99, 20, 19), (0.5, 2, 1), (0.5, 1, 0)],
)
def test_each_part_has_a_step_if_there_are_two(fraction: float, total: int, expected: int) -> None:
    assert lp_ft(total, probe_fraction=fraction).probe_steps == expected


def test_what_trains_follows_from_the_step_alone() -> None:
    method = lp_ft(20, probe_fraction=0.5)
    module = method.model.module
    assert isinstance(module.visual, nn.Module)
    names = {name for name, _ in method.parameters()}
    # In any order of steps, as if a run were taken up again at each of them.
    for step in (3, 10, 9, 19, 0, 12, 12, 5):
        module.train()
        method.before_step(step)
        training = {n for n, p in module.named_parameters() if p.requires_grad}
        assert training == ({n for n in names if n.startswith("visual.")} if step >= 10 else set())
        assert module.visual.training == (step >= 10)
        assert {name for name, _ in method.parameters()} == names
    assert "visual.proj" in names
    assert "classifier.weight" in names
    assert not any(name.startswith("transformer.") for name in names)
