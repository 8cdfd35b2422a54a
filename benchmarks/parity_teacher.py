"""The schedule of CaRot's averaged teacher beside that of the released code; for `parity.py`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks import released
from carot.specs import TeacherSpec
from carot.training.teachers import MomentumTeacher

STEPS = 25_030  # of which the usual spec makes an update every 500
LISTED = {0: 0.05, 500: 0.135, 1000: 0.220, 1500: 0.305, 2000: 0.390, 2500: 0.475, 3000: 0.559,
          5000: 0.899} | dict.fromkeys(range(5500, 25_001, 500), 0.9)  # fmt: skip
LEFT = {501: 0.13, 2501: 0.0017, 5001: 0.0003, 25_030: 5e-6}


class Watched(MomentumTeacher):
    """A teacher that keeps with which momentum it was updated, by step."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__(TeacherSpec(), student, STEPS)
        self.momenta: dict[int, float] = {}

    def share(self, step: int) -> float:
        share = super().share(step)
        self.momenta[step] = 1.0 - share
        return share


def compare() -> dict[str, Any]:
    """Momentum at each update, beside the listed values, and what is left of the start."""
    momenta, left = watch()
    teacher = MomentumTeacher(TeacherSpec(), nn.Linear(1, 1), STEPS)
    return {
        "updates": len(momenta),
        "momentum": {str(step): value for step, value in momenta.items()},
        "largest_difference_from_listed": max(abs(momenta[s] - v) for s, v in LISTED.items()),
        "largest_difference_from_formula": max(
            abs(1.0 - teacher.share(s) - released.momentum(s, STEPS)) for s in range(STEPS)
        ),
        "share_of_start_left": {
            str(steps): {"computed": left[steps], "listed": listed}
            for steps, listed in LEFT.items()
        },
    }


def watch() -> tuple[dict[int, float], dict[int, float]]:
    """Momentum by update, and the starting student's weight in the teacher after some steps.

    The update behind step 0 still sees the start: the rate of that step is a five-hundredth of
    the peak at most. From then on the student is taken to have left it altogether.
    """
    left = {}
    student = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        student.weight.fill_(1.0)
        teacher = Watched(student)
        for step in range(STEPS):
            teacher.update(student, step)
            student.weight.fill_(0.0)
            if step + 1 in LEFT:
                left[step + 1] = float(teacher.module.get_parameter("weight"))
    return teacher.momenta, left


def show(schedule: dict[str, Any]) -> None:
    print(f"\nteacher: {schedule['updates']} updates in {STEPS} steps; momentum differs by at most "
          f"{schedule['largest_difference_from_listed']:.0e} from the listed (three decimals), "
          f"{schedule['largest_difference_from_formula']:.0e} from the formula")  # fmt: skip
    print(" ".join(f"{step}:{value:.3f}" for step, value in
                   list(schedule["momentum"].items())[:12]), "...")  # fmt: skip
    print(f"{'steps':>8}{'of the start':>14}{'listed':>10}")
    for steps, row in schedule["share_of_start_left"].items():
        print(f"{steps:>8}{row['computed']:14.2e}{row['listed']:10.1e}")
