from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from carot.teachers import MovingAverageTeacher, momentum_at, update_due

TOTAL, EVERY = 25_030, 500


def weight(teacher: MovingAverageTeacher) -> Tensor:
    return teacher.state_dict()["weight"]


def momentum(step: int) -> float:
    return momentum_at(step, TOTAL, initial=0.05, final=0.9, warmup_fraction=0.2)


@pytest.mark.parametrize(
    ("step", "published"),
    [
        (0, 0.05),
        (500, 0.135),
        (1000, 0.220),
        (1500, 0.305),
        (2000, 0.390),
        (2500, 0.4745),
        (3000, 0.559),
        (5000, 0.899),
        (5006, 0.9),
        (5500, 0.9),
        (25_000, 0.9),
    ],
)
def test_momentum_rises_as_published(step: int, published: float) -> None:
    assert momentum(step) == pytest.approx(published, abs=5e-4)


def test_momentum_without_a_warm_up_is_final_from_the_start() -> None:
    assert momentum_at(0, 100, initial=0.1, final=0.7, warmup_fraction=0.0) == 0.7
    assert momentum_at(99, 100, initial=0.0, final=1.0, warmup_fraction=1.0) == 0.99


def test_a_published_run_updates_51_times() -> None:
    steps = [step for step in range(TOTAL) if update_due(step, EVERY)]
    assert len(steps) == 51
    assert (steps[0], steps[1], steps[-1]) == (0, 500, 25_000)
    assert sum(momentum(step) < 0.9 for step in steps) == 11


@pytest.mark.parametrize(
    ("steps", "share", "tolerance"),
    [(501, 0.13, 5e-3), (2501, 0.0017, 5e-5), (5001, 0.0003, 5e-5)],
)
def test_the_share_of_the_starting_weights_is_as_published(
    steps: int, share: float, tolerance: float
) -> None:
    """The first update, at step 0, comes from weights that are still the starting ones."""
    student = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(student.weight)
    teacher = MovingAverageTeacher(student)
    for step in range(steps):
        if update_due(step, EVERY):
            teacher.update(student, momentum(step))
        nn.init.zeros_(student.weight)
    assert weight(teacher).item() == pytest.approx(share, abs=tolerance)


def test_an_update_is_the_weighted_mean() -> None:
    student = nn.Linear(3, 2)
    before = student.weight.detach().clone()
    teacher = MovingAverageTeacher(student)
    with torch.no_grad():
        student.weight.add_(1.0)
    teacher.update(student, 0.75)
    torch.testing.assert_close(weight(teacher), before + 0.25)
    teacher.update(student, 1.0)
    torch.testing.assert_close(weight(teacher), before + 0.25)
    teacher.update(student, 0.0)
    assert torch.equal(weight(teacher), student.weight)


def test_the_teacher_is_apart_from_the_student() -> None:
    linear = nn.Linear(4, 4)
    student = nn.Sequential(linear, nn.Dropout(0.5)).train()
    teacher = MovingAverageTeacher(student)
    assert not any(parameter.requires_grad for parameter in teacher.module.parameters())
    assert not any(module.training for module in teacher.module.modules())
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    student(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(linear.weight, before["0.weight"])
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name])
    teacher.update(student, 0.5)
    assert not any(parameter.requires_grad for parameter in teacher.module.parameters())


def test_statistics_of_batch_normalisation_are_the_students() -> None:
    student = nn.BatchNorm1d(3)
    teacher = MovingAverageTeacher(student)
    student(torch.randn(8, 3) + 5)
    teacher.update(student, 0.9)
    state = teacher.state_dict()
    assert student.running_mean is not None
    assert torch.equal(state["running_mean"], student.running_mean)
    assert state["num_batches_tracked"].item() == 1
    student(torch.randn(8, 3))
    assert state["num_batches_tracked"].item() == 1


def test_a_teacher_goes_on_from_its_state() -> None:
    student = nn.Linear(2, 2)
    first, second = MovingAverageTeacher(nn.Linear(2, 2)), MovingAverageTeacher(student)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    for teacher in (first, second):
        teacher.update(student, 0.3)
    assert torch.equal(weight(first), weight(second))
    with pytest.raises(RuntimeError, match="Missing key"):
        first.load_state_dict({})
