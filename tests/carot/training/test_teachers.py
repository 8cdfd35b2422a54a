from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from carot.specs import TeacherSpec
from carot.training.teachers import (
    MomentumTeacher,
    Teacher,
    TrajectoryTeacher,
    build_teacher,
    momentum_at,
    trajectory_shares,
)

TOTAL, EVERY = 25_030, 500
KINDS = ["momentum", "trajectory"]


class Fixed(Teacher):
    """Takes the same share in each update."""

    def __init__(self, student: nn.Module, taken: float) -> None:
        super().__init__(student, update_every=1)
        self.taken = taken

    def share(self, step: int) -> float:
        return self.taken


def weight(teacher: Teacher) -> Tensor:
    return teacher.module.get_parameter("weight")


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


def updates(teacher: Teacher, total: int) -> list[int]:
    """Steps behind which the teacher moves towards a student that runs away."""
    student = nn.Linear(1, 1, bias=False).double()
    moved = []
    for step in range(total):
        before = weight(teacher).clone()
        nn.init.constant_(student.weight, 1.0 + step)
        teacher.update(student, step)
        if not torch.equal(weight(teacher), before):
            moved.append(step)
    return moved


def test_a_published_run_updates_51_times() -> None:
    student = nn.Linear(1, 1, bias=False).double()
    teacher = build_teacher(TeacherSpec(), student, TOTAL)
    steps = updates(teacher, TOTAL)
    assert len(steps) == 51
    assert (steps[0], steps[1], steps[-1]) == (0, 500, 25_000)
    assert sum(teacher.share(step) > 1.0 - 0.9 for step in steps) == 11


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
    teacher = build_teacher(TeacherSpec(update_every=EVERY), student, TOTAL)
    for step in range(steps):
        teacher.update(student, step)
        nn.init.zeros_(student.weight)
    assert weight(teacher).item() == pytest.approx(share, abs=tolerance)


def test_an_update_is_the_weighted_mean() -> None:
    student = nn.Linear(3, 2)
    before = student.weight.detach().clone()
    teacher = Fixed(student, 0.25)
    with torch.no_grad():
        student.weight.add_(1.0)
    teacher.update(student, 0)
    torch.testing.assert_close(weight(teacher), before + 0.25)
    teacher.taken = 0.0
    teacher.update(student, 1)
    torch.testing.assert_close(weight(teacher), before + 0.25)
    teacher.taken = 1.0
    teacher.update(student, 2)
    assert torch.equal(weight(teacher), student.weight)


@pytest.mark.parametrize("beta", [0.2, 0.5, 1.0, 1.5, 10.0])
@pytest.mark.parametrize("count", [1, 2, 17, 400])
def test_trajectory_shares_match_a_slow_implementation(beta: float, count: int) -> None:
    density = stats.beta(beta, beta).pdf
    total, expected = 0.0, []
    for k in range(count + 1):
        kappa = float(density((k + 0.5) / (count + 1)))
        total += kappa
        expected.append(kappa / total)
    shares = trajectory_shares(count, beta)
    assert shares[0] == 1.0
    np.testing.assert_allclose(shares, expected, rtol=1e-10)


def test_uniform_density_makes_the_plain_mean() -> None:
    np.testing.assert_allclose(trajectory_shares(9, 1.0), 1 / np.arange(1, 11))


@pytest.mark.parametrize(("every", "total"), [(1, 40), (1, 1), (3, 40), (7, 42), (50, 40)])
def test_a_trajectory_is_the_weighted_mean_of_all_that_was(every: int, total: int) -> None:
    spec = TeacherSpec(kind="trajectory", update_every=every, beta=0.5)
    student = nn.Linear(3, 2, bias=False).double()
    teacher = build_teacher(spec, student, total)
    kept = [student.weight.detach().numpy().copy()]
    rng = np.random.default_rng(0)
    for step in range(total):
        with torch.no_grad():
            student.weight.add_(torch.from_numpy(rng.normal(size=(2, 3))))
        teacher.update(student, step)
        if step % every == 0:
            kept.append(student.weight.detach().numpy().copy())
    density = stats.beta(0.5, 0.5).pdf
    kappa = np.array([density((k + 0.5) / len(kept)) for k in range(len(kept))])
    expected = np.tensordot(kappa / kappa.sum(), np.array(kept), axes=1)
    np.testing.assert_allclose(weight(teacher).numpy(), expected, rtol=1e-10)
    # Of a symmetric density the start weighs as much as the last update.
    assert kappa[0] == pytest.approx(kappa[-1])


def test_shares_of_the_start_are_as_published() -> None:
    """PAPERS 4.1: 3.2 % at step 500, 1.4 % at 2503, 0.3 % at the end, of 25,030."""
    kept = np.cumprod(1.0 - trajectory_shares(TOTAL, 0.5)[1:])
    for update, share in [(500, 0.032), (2503, 0.014), (TOTAL, 0.003)]:
        assert kept[update - 1] == pytest.approx(share, abs=1e-3)


def test_a_trajectory_in_float32_stays_close_to_one_in_float64() -> None:
    """Some 2,000 updates, each of a share far below one."""
    spec = TeacherSpec(kind="trajectory")
    total = 2000
    narrow = nn.Linear(200, 1, bias=False)
    wide = nn.Linear(200, 1, bias=False).double()
    with torch.no_grad():
        wide.weight.copy_(narrow.weight)
    start = wide.weight.detach().clone()
    teachers = [build_teacher(spec, student, total) for student in (narrow, wide)]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for step in range(total):
            narrow.weight.add_(1e-5 + 1e-5 * torch.randn(1, 200, generator=generator))
            wide.weight.copy_(narrow.weight)
            for teacher, student in zip(teachers, (narrow, wide), strict=True):
                teacher.update(student, step)
    error = (weight(teachers[0]).double() - weight(teachers[1])).abs().mean()
    assert error < 1e-3 * (weight(teachers[1]) - start).abs().mean()


@pytest.mark.parametrize(
    ("kind", "total", "expected"),
    [("momentum", 25_000, 500), ("momentum", 49, 1), ("momentum", 120, 2), ("trajectory", 9000, 1)],
)
def test_by_default_updates_are_as_rare_as_published(kind: str, total: int, expected: int) -> None:
    spec = TeacherSpec.model_validate({"kind": kind})
    teacher = build_teacher(spec, nn.Linear(1, 1), total)
    assert teacher.update_every == expected
    given = spec.model_copy(update={"update_every": 3})
    assert build_teacher(given, nn.Linear(1, 1), total).update_every == 3
    assert isinstance(teacher, MomentumTeacher if kind == "momentum" else TrajectoryTeacher)


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_is_apart_from_the_student(kind: str) -> None:
    linear = nn.Linear(4, 4)
    student = nn.Sequential(linear, nn.Dropout(0.5)).train()
    teacher = build_teacher(TeacherSpec.model_validate({"kind": kind}), student, 10)
    assert not any(parameter.requires_grad for parameter in teacher.module.parameters())
    assert not any(module.training for module in teacher.module.modules())
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())
    before = {name: value.clone() for name, value in teacher.module.state_dict().items()}
    optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    student(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(linear.weight, before["0.weight"])
    for name, value in teacher.module.state_dict().items():
        assert torch.equal(value, before[name])
    teacher.update(student, 0)
    assert not any(parameter.requires_grad for parameter in teacher.module.parameters())
    assert not torch.equal(teacher.module.get_parameter("0.weight"), before["0.weight"])


def test_statistics_of_batch_normalisation_are_the_students() -> None:
    student = nn.BatchNorm1d(3)
    teacher = Fixed(student, 0.1)
    student(torch.randn(8, 3) + 5)
    teacher.update(student, 0)
    state = teacher.module.state_dict()
    assert student.running_mean is not None
    assert torch.equal(state["running_mean"], student.running_mean)
    assert state["num_batches_tracked"].item() == 1
    student(torch.randn(8, 3))
    assert state["num_batches_tracked"].item() == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [1, 5, 6])
def test_a_teacher_goes_on_from_its_module_alone(kind: str, stop: int) -> None:
    spec = TeacherSpec.model_validate({"kind": kind, "update_every": 2})
    students = [nn.Linear(3, 3) for _ in range(11)]
    straight, first = (build_teacher(spec, students[0], 10) for _ in range(2))
    for step in range(10):
        straight.update(students[step + 1], step)
    for step in range(stop):
        first.update(students[step + 1], step)
    second = build_teacher(spec, students[0], 10)
    second.module.load_state_dict(first.module.state_dict())
    for step in range(stop, 10):
        second.update(students[step + 1], step)
    assert torch.equal(weight(second), weight(straight))
