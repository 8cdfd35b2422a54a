"""Runs that choose: along a training, between start and end, among checkpoints, out of several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from carot.errors import ClassMismatch, Interrupted, SpecError
from carot.models.checkpoints import HEAD_NAME, load_card
from carot.models.clip import WEIGHTS_NAME
from carot.run import RunResult, execute
from carot.specs import InterpolateSpec, MergeSpec, SelectSpec
from tests.carot.run.listener import Listener, finetune, run
from tests.carot.tiny import write_images

pytestmark = pytest.mark.slow
TRAINING = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3}


def weights(folder: Path | None) -> dict[str, torch.Tensor]:
    assert folder is not None
    return load_file(folder / WEIGHTS_NAME) | {"head": load_file(folder / HEAD_NAME)["weight"]}


def test_the_best_of_a_run_is_kept_and_told(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(
        model_folder, images, training=TRAINING, selection={"rule": "nll", "candidates": 4}
    )
    result, listener = run(spec, tmp_path / "run")
    report = result.report
    assert report.rule == "nll"
    assert [c.step for c in report.candidates] == [2, 4, 6, 8]
    [chosen] = [c for c in report.candidates if c.chosen]
    assert chosen.nll == min(c.nll for c in report.candidates)
    assert listener.types().count("candidate_measured") == 4
    # The same run, ended where the chosen candidate stood, has the same weights: rate and teacher
    # follow from the whole length, so stop it there instead of shortening it.
    stopped = Listener()
    with pytest.raises(Interrupted):
        execute(
            spec,
            tmp_path / "stopped",
            stopped,
            should_stop=lambda: bool(stopped.steps() and stopped.steps()[-1] == chosen.step),
        )
    snapshot = load_file(tmp_path / "stopped" / "snapshot" / "snapshot.safetensors")
    kept = weights(result.checkpoint)
    for name, value in kept.items():
        if name != "head":
            assert torch.equal(value, snapshot[f"module.model.{name}"]), name


@pytest.mark.parametrize("stop_after", [4, 5])
def test_a_choice_survives_a_stop(
    stop_after: int, model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(
        model_folder, images, training=TRAINING, selection={"rule": "accuracy", "candidates": 8}
    )
    straight, _ = run(spec, tmp_path / "straight")
    asked = 0

    def should_stop() -> bool:  # asked before each step and while a candidate is looked at
        nonlocal asked
        asked += 1
        return asked > stop_after

    with pytest.raises(Interrupted):
        execute(spec, tmp_path / "resumed", Listener(), should_stop=should_stop)
    resumed, _ = run(spec, tmp_path / "resumed")
    assert resumed.report.candidates == straight.report.candidates
    for name, value in weights(resumed.checkpoint).items():
        assert torch.equal(value, weights(straight.checkpoint)[name]), name


def test_a_trained_head_is_kept_with_its_candidate(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(
        model_folder,
        images,
        method={"name": "finetune"},
        training=TRAINING,
        selection={"rule": "bound", "candidates": 2},
    )
    result, _ = run(spec, tmp_path / "run")
    assert result.checkpoint is not None
    assert load_card(result.checkpoint).head == "trained"
    # Fewer validation images than dimensions: no candidate has a finite score, the later is kept.
    assert [c.score for c in result.report.candidates] == [None, None]
    assert [c.chosen for c in result.report.candidates] == [False, True]


def test_without_images_to_choose_by_the_last_weights_are_kept(
    model_folder: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / "images" / split)
    spec = finetune(model_folder, tmp_path / "images", selection={"rule": "nll"})
    result, listener = run(spec, tmp_path / "run")
    assert "no_selection_split" in [getattr(e, "code", None) for e in listener.events]
    assert (result.report.rule, result.report.candidates) == (None, ())


@pytest.mark.parametrize("method", ["carot", "finetune"])
def test_a_run_drawn_towards_its_start(
    method: str, model_folder: Path, images: Path, tmp_path: Path
) -> None:
    plain, _ = run(
        finetune(model_folder, images, method={"name": method}, training=TRAINING),
        tmp_path / "plain",
    )
    selection = {"rule": "nll", "over": "interpolation", "candidates": 4}
    drawn, _ = run(
        finetune(
            model_folder,
            images,
            method={"name": method},
            training=TRAINING,
            selection=selection,
        ),
        tmp_path / "drawn",
    )
    assert [c.alpha for c in drawn.report.candidates] == [0.25, 0.5, 0.75, 1.0]
    [alpha] = [c.alpha for c in drawn.report.candidates if c.chosen]
    start, end = weights_of_start(model_folder), weights(plain.checkpoint)
    for name, value in weights(drawn.checkpoint).items():
        if name in start:
            expected = (1 - alpha) * start[name].double() + alpha * end[name].double()
            torch.testing.assert_close(value.double(), expected, atol=1e-6, rtol=1e-5)


def weights_of_start(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / WEIGHTS_NAME)


@pytest.fixture
def two(model_folder: Path, images: Path, tmp_path: Path) -> list[RunResult]:
    """Two fine-tuned checkpoints of one start."""
    return [
        run(
            finetune(model_folder, images, training={**TRAINING, "seed": seed}),
            tmp_path / f"seed-{seed}",
        )[0]
        for seed in (0, 1)
    ]


def spec(kind: type[Any], images: Path, **fields: Any) -> Any:
    rows = [
        {"name": "clean", "dataset": f"folder:{images}", "in_distribution": True},
        {"name": "noisy", "dataset": f"folder:{images}", "shift": "noise", "severity": 5},
    ]
    document = {"dataset": f"folder:{images}", "evaluation": {"datasets": rows}, **fields}
    return kind.model_validate(document)


def test_interpolation_measures_every_alpha_in_one_report(
    two: list[RunResult], model_folder: Path, images: Path, tmp_path: Path
) -> None:
    asked = spec(
        InterpolateSpec,
        images,
        model={"folder": str(two[0].checkpoint)},
        start={"folder": str(model_folder)},
        alphas=[0.0, 0.5, 1.0],
    )
    result, _ = run(asked, tmp_path / "wise")
    report = result.report
    assert [c.alpha for c in report.candidates] == [0.0, 0.5, 1.0]
    assert all(len(c.datasets) == 2 and c.ood_mean is not None for c in report.candidates)
    [chosen] = [c for c in report.candidates if c.chosen]
    assert chosen.nll == min(c.nll for c in report.candidates)
    assert report.datasets == chosen.datasets
    assert report.method == "wise_ft"
    # The ends are the two models as they are.
    at_one = report.candidates[-1].datasets[0]
    assert at_one.raw == next(d for d in two[0].report.datasets if d.name == "test").raw
    kept = np.load(tmp_path / "wise" / "logits" / "1.npz")
    accuracy = (kept["logits"].argmax(1) == kept["labels"]).mean()
    assert report.datasets[1].raw.accuracy == pytest.approx(accuracy)


def test_interpolation_needs_a_start_of_the_same_build(
    two: list[RunResult], images: Path, tmp_path: Path
) -> None:
    model = {"folder": str(two[0].checkpoint)}
    with pytest.raises(SpecError) as caught:
        run(spec(InterpolateSpec, images, model=model), tmp_path / "run")
    assert caught.value.field == "start"
    other = {"architecture": "carot-mini"}
    with pytest.raises(SpecError) as caught:
        run(spec(InterpolateSpec, images, model=model, start=other), tmp_path / "run")
    assert caught.value.field == "start"
    with pytest.raises(SpecError) as caught:
        run(spec(InterpolateSpec, images, model=other, start=other), tmp_path / "run")
    assert caught.value.field == "model"


@pytest.mark.parametrize("name", ["uniform_soup", "model_stock"])
def test_merging(
    name: str, two: list[RunResult], model_folder: Path, images: Path, tmp_path: Path
) -> None:
    asked = spec(
        MergeSpec,
        images,
        method={"name": name},
        models=[{"folder": str(each.checkpoint)} for each in two],
        start={"folder": str(model_folder)},
    )
    result, _ = run(asked, tmp_path / "merged")
    assert result.report.method == name
    assert result.report.model is None
    merged = weights(result.checkpoint)
    each = [weights(two[0].checkpoint), weights(two[1].checkpoint)]
    soup = {n: (each[0][n].double() + each[1][n].double()) / 2 for n in merged if n != "head"}
    close = [torch.allclose(merged[n].double(), v, atol=1e-6) for n, v in soup.items()]
    assert all(close) == (name == "uniform_soup")


def test_selection_among_checkpoints(two: list[RunResult], images: Path, tmp_path: Path) -> None:
    models = [{"folder": str(each.checkpoint)} for each in two]
    result, _ = run(spec(SelectSpec, images, models=models, rule="nll"), tmp_path / "chosen")
    report = result.report
    assert result.checkpoint is None
    assert not (tmp_path / "chosen" / "checkpoint").exists()
    assert report.rule == "nll"
    [chosen] = [i for i, c in enumerate(report.candidates) if c.chosen]
    assert report.candidates[chosen].nll == min(c.nll for c in report.candidates)
    assert report.candidates[chosen].model is not None
    # Measured with the calibrator that it came with.
    assert report.calibrator == two[chosen].report.calibrator
    assert report.datasets[0].raw == two[chosen].report.datasets[0].raw


def test_checkpoints_of_other_classes_are_not_compared(
    two: list[RunResult], tmp_path: Path
) -> None:
    write_images(tmp_path / "other", classes=("cat", "dog"), each=40)
    models = [{"folder": str(each.checkpoint)} for each in two]
    asked = SelectSpec.model_validate({"models": models, "dataset": f"folder:{tmp_path / 'other'}"})
    with pytest.raises(ClassMismatch):
        run(asked, tmp_path / "run")
