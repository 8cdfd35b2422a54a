"""The validation curve: at which steps, what of, when it warns, and that it changes nothing."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from carot.data.formats.folder import open_folder
from carot.data.source import ImageSource
from carot.errors import DataError, Interrupted
from carot.evaluation.evaluate import Outputs, run_model
from carot.events import Reporter, ValidationMeasured, Warning
from carot.models.clip import ClipModel
from carot.run.evaluated import EvaluatedModel, evaluated_model
from carot.run.validation import (
    MOST_IMAGES,
    ValidationCurve,
    Watchers,
    bounded,
    looks_for,
    standard_errors,
)
from carot.specs import FinetuneMethod, FlypMethod, LinearProbeMethod
from carot.training.methods import Outcome
from tests.carot.run.listener import finetune, run
from tests.carot.tiny import write_images
from tests.carot.training.whole_runs import CAROT, Run

LOOKS = 3
SPOILING = 0.5
"""A rate that no model survives."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    """A model that knows the classes already."""
    run = Run(tmp_path_factory.mktemp("good"), FlypMethod(), epochs=4, learning_rate=3e-3)
    run.fit()
    return run.model


def copied(model: ClipModel) -> ClipModel:
    return model.with_module(copy.deepcopy(model.module))


class Watched(Run):
    """A tiny run with its curve, of 15 steps: looks at 0, 5, 10 and 15."""

    def __init__(self, root: Path, method: Any, **training: Any) -> None:
        held = root.with_name(f"{root.name}-held")
        if not held.exists():
            write_images(held / "train", each=15)
        super().__init__(root, method, **training)
        self.images: ImageSource = open_folder(held, "train")
        self.curve = ValidationCurve(
            self.method,
            self.images,
            LOOKS,
            model_of=self.model_of,
            measure=self.measure,
            reporter=self,
        )

    def model_of(self, outcome: Outcome) -> EvaluatedModel:
        model, classes = self.model.with_module(outcome.module), self.images.classes
        return evaluated_model(model, self.captions, classes, "flyp", outcome.head_CD, None)

    def measure(self, evaluated: EvaluatedModel, reporter: Reporter) -> Outputs:
        return run_model(
            evaluated.model,
            evaluated.head_CD,
            self.images,
            name="validation",
            batch_size=8,
            reporter=reporter,
            should_stop=lambda: False,
        )

    def watched(self, stop_after: int | None = None) -> list[int]:
        """Fit, and say at which steps there was a look."""
        try:
            self.fit(stop_after, watcher=Watchers([self.curve]))
        except Interrupted:
            assert stop_after is not None
        return [event.step for event in self.measured()]

    def measured(self) -> list[ValidationMeasured]:
        return [each for each in self.events if isinstance(each, ValidationMeasured)]

    def warnings(self) -> list[Warning]:
        return [each for each in self.events if isinstance(each, Warning)]


@pytest.mark.parametrize(
    "method", [FlypMethod(), FinetuneMethod(), LinearProbeMethod(), CAROT], ids=lambda m: m.name
)
def test_a_watched_run_ends_with_the_weights_of_an_unwatched_one(
    method: Any, tmp_path: Path
) -> None:
    plain, watched = Run(tmp_path / "plain", method), Watched(tmp_path / "watched", method)
    plain.fit()
    assert watched.watched() == [0, 5, 10, 15]
    expected, found = plain.weights(), watched.weights()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert [step.loss for step in watched.steps()] == [step.loss for step in plain.steps()]


@pytest.mark.parametrize("stop_after", [3, 5])
def test_a_resumed_run_looks_where_it_had_not_and_compares_with_the_same_start(
    stop_after: int, good: ClipModel, tmp_path: Path
) -> None:
    straight, first, second = (
        Watched(tmp_path / name, FlypMethod(), learning_rate=SPOILING, model=copied(good))
        for name in ("straight", "resumed", "resumed")
    )
    assert straight.watched() == [0, 5, 10, 15]
    assert first.watched(stop_after) + second.watched() == [0, 5, 10, 15]
    assert first.measured() + second.measured() == straight.measured()
    at_the_start = straight.warnings()[0].message.split("; ")[1]
    assert {each.message.split("; ")[1] for each in second.warnings()} == {at_the_start}


def test_what_is_measured_is_what_the_run_would_end_with(tmp_path: Path) -> None:
    watched = Watched(tmp_path, FlypMethod(), learning_rate=3e-3)
    watched.watched()
    outputs = watched.measure(watched.model_of(watched.method.outcome()), watched)
    last = watched.measured()[-1]
    right_N = outputs.logits_NC.argmax(dim=1) == outputs.labels_N
    assert last.images == 30
    assert last.accuracy == pytest.approx(float(right_N.double().mean()))
    nll = torch.nn.functional.cross_entropy(outputs.logits_NC.double(), outputs.labels_N)
    assert last.nll == pytest.approx(float(nll))
    assert 0 <= last.ece <= 1


def test_a_run_that_spoils_the_start_is_warned_of_early_and_once(
    good: ClipModel, tmp_path: Path
) -> None:
    watched = Watched(tmp_path, FlypMethod(), learning_rate=SPOILING, model=copied(good))
    watched.watched()
    [warning] = watched.warnings()
    assert warning.code == "worse_than_start"
    assert warning.message.startswith("step 5 of 15: accuracy")
    assert "learning_rate" in warning.action


def test_a_run_that_gets_better_is_not_warned_of(tmp_path: Path) -> None:
    watched = Watched(tmp_path, FinetuneMethod(), learning_rate=3e-3)
    watched.watched()
    first, *_, last = watched.measured()
    assert last.nll < first.nll
    assert watched.warnings() == []


def test_images_that_cannot_be_measured_end_the_curve_and_not_the_run(tmp_path: Path) -> None:
    watched = Watched(tmp_path, FlypMethod())

    def fails(*_: object) -> Outputs:
        raise DataError("validation: no image can be read")

    watched.curve._measure = fails
    assert watched.watched() == []
    assert len(watched.steps()) == 15
    [warning] = watched.warnings()
    assert "no validation curve" in warning.message


def test_a_curve_costs_a_run_little() -> None:
    assert looks_for(60_000, images=500, captions=100) == 10
    assert looks_for(18_000, images=500, captions=100) == 3
    assert looks_for(100, images=500, captions=0) == 1
    assert looks_for(10**9, images=1, captions=0) == 10


def test_a_large_split_is_bounded_alike_for_a_seed(tmp_path: Path) -> None:
    small = open_folder(write_images(tmp_path / "train", each=3).parent, "train")

    class Large(type(small)):  # type: ignore[misc]
        def __init__(self) -> None:
            self.classes, self.members, self.blocks = small.classes, small.members, None
            self.keys = [str(n) for n in range(5000)]
            self.labels = torch.zeros(5000, dtype=torch.int64).numpy()

    assert bounded(small, 0) is small
    one, again, other = (list(bounded(Large(), seed).keys) for seed in (0, 0, 1))
    assert one == again != other
    assert len(set(one)) == MOST_IMAGES
    assert one == sorted(one, key=int)


def test_standard_errors_of_constants_and_samples() -> None:
    assert standard_errors(torch.zeros(12)) == 0.0
    assert standard_errors(torch.ones(12)) == math.inf
    assert standard_errors(-torch.ones(12)) == -math.inf
    sample = torch.tensor([1.0, 3.0, 2.0, 2.0])
    assert standard_errors(sample) == pytest.approx(2 / (sample.std().item() / 2))


def test_a_run_has_a_curve_where_there_are_validation_images(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    _, listener = run(finetune(model_folder, images), tmp_path / "run")
    found = [each for each in listener.events if isinstance(each, ValidationMeasured)]
    assert found[0].step == 0
    assert found[-1].step == listener.steps()[-1]
