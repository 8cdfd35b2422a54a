"""Whole runs of a tiny model on tiny data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from carot.atomic_write import atomic_folder
from carot.calibration.calibrators.calibrator import TemperatureCalibrator
from carot.calibration.label_sets import label_set_hash
from carot.errors import (
    CheckpointError,
    ClassMismatch,
    DataError,
    Interrupted,
    SpecError,
    TooManyUnreadable,
)
from carot.events import Warning
from carot.models.checkpoints import CALIBRATOR_NAME
from carot.models.classifier import Classifier
from carot.run import execute
from carot.specs import EvaluateSpec, FinetuneSpec, Method
from tests.carot.run.listener import Listener, finetune, run
from tests.carot.tiny import write_images

pytestmark = pytest.mark.slow


def test_a_run_leaves_a_checkpoint_a_report_and_logits(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    result, listener = run(finetune(model_folder, images), tmp_path / "run")
    assert result.fit is not None
    assert result.fit.steps == 8
    assert listener.types().count("step_done") == 8
    assert {"phase_started", "snapshot_saved", "checkpoint_saved", "evaluation_done"} <= set(
        listener.types()
    )
    [row] = result.report.datasets
    assert (row.name, row.images, row.in_distribution) == ("test", 24, True)
    assert row.calibrated is not None
    kept = np.load(tmp_path / "run" / "logits" / "0.npz")
    assert kept["logits"].shape == (24, 2)
    assert kept["keys"].dtype.kind == "U"
    accuracy = (kept["logits"].argmax(1) == kept["labels"]).mean()
    assert row.raw.accuracy == pytest.approx(accuracy)
    document = json.loads(result.report_path.read_text())
    assert document["method"] == "carot"

    assert result.checkpoint is not None
    classifier = Classifier.load(result.checkpoint, device="cpu")
    assert classifier.classes == ("bright", "dark")
    assert isinstance(classifier.calibrator, TemperatureCalibrator)
    from carot.data.formats.folder import open_folder

    source = open_folder(images, "test")
    logits = classifier.logits([source.image(i) for i in range(len(source))])
    np.testing.assert_allclose(logits.numpy(), kept["logits"], atol=1e-4)
    raw, calibrated = classifier.confidences(logits)
    torch.testing.assert_close(raw.sum(1), torch.ones(24, dtype=torch.float64))
    assert torch.equal(raw.argmax(1), calibrated.argmax(1))
    expected = (logits.double() / classifier.calibrator.temperature).softmax(1)
    torch.testing.assert_close(calibrated, expected)


def test_what_a_data_set_says_of_itself_is_in_the_report(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    (images / "README.txt").write_text("hello")
    spec = finetune(model_folder, images, method={"name": "zero_shot"})
    result, listener = run(spec, tmp_path / "run")
    said = [each for each in result.report.warnings if each.code == "files_left_out"]
    assert [each.message for each in said] == ["left out 1 file, not images: 1 .txt"]
    heard = [event for event in listener.events if isinstance(event, Warning)]
    assert len([event for event in heard if event.code == "files_left_out"]) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"method": {"name": "flyp"}}, None),
        ({"method": {"name": "linear_probe"}}, "captions_not_used"),
        ({"method": {"name": "flyp"}, "prompts": {"templates": ["{}"]}}, "captions_not_used"),
    ],
)
def test_captions_of_a_table_train_and_labels_judge(
    model_folder: Path, images: Path, tmp_path: Path, changes: dict[str, Any], code: str | None
) -> None:
    with_labels, with_captions = ["filepath,label,split"], ["filepath,label,split,title"]
    for path in sorted(images.rglob("*.png")):
        split, label, _ = path.relative_to(images).parts
        with_labels.append(f"{path.relative_to(tmp_path)},{label},{split}")
        with_captions.append(f"{with_labels[-1]},something {label} here")
    results, weights = [], []
    for name, rows in (("plain", with_labels), ("captioned", with_captions)):
        (tmp_path / f"{name}.csv").write_text("\n".join(rows))
        spec = finetune(model_folder, images, **changes, dataset=f"csv:{tmp_path}/{name}.csv")
        results.append(run(spec, tmp_path / name)[0])
        saved = tmp_path / name / "checkpoint" / "open_clip_model.safetensors"
        weights.append(saved.read_bytes())
    codes = [each.code for each in results[1].report.warnings]
    assert codes.count("captions_not_used") == (code is not None)
    # What they say is trained on, or the run is the one without them.
    assert (weights[0] == weights[1]) == (code is not None)
    assert results[1].report.classes == ("bright", "dark")


def test_a_run_taken_up_again_ends_with_the_same_report(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(model_folder, images)
    straight, _ = run(spec, tmp_path / "straight")
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Interrupted):
        execute(spec, tmp_path / "resumed", Listener(), should_stop=should_stop)
    assert not (tmp_path / "resumed" / "checkpoint").exists()
    resumed, _ = run(spec, tmp_path / "resumed")
    # Stopped once more while evaluating: training is not done again.
    again, listener = run(spec, tmp_path / "resumed")
    assert "step_done" not in listener.types()
    for other in (resumed, again):
        assert other.report.datasets == straight.report.datasets
    for name in ("open_clip_model.safetensors", "head.safetensors"):
        path = Path("checkpoint") / name
        expected = (tmp_path / "straight" / path).read_bytes()
        assert (tmp_path / "resumed" / path).read_bytes() == expected


@pytest.mark.parametrize("method", ["carot", "finetune"])
def test_what_is_stored_and_measured_is_the_average(
    method: str, model_folder: Path, images: Path, tmp_path: Path
) -> None:
    last, kept = (
        run(
            finetune(model_folder, images, method={"name": method}, selection={"average": average}),
            tmp_path / average["kind"],
        )[0]
        for average in ({"kind": "none"}, {"kind": "uniform"})
    )
    name = "open_clip_model.safetensors"
    start = load_file(model_folder / name)["visual.proj"]
    assert last.checkpoint is not None
    assert kept.checkpoint is not None
    end, mean = (load_file(r.checkpoint / name)["visual.proj"] for r in (last, kept))
    assert 0 < float((mean - start).norm()) < float((end - start).norm())
    # The report, too: its logits are those of the checkpoint.
    from carot.data.formats.folder import open_folder

    source = open_folder(images, "test")
    classifier = Classifier.load(kept.checkpoint, device="cpu")
    logits = classifier.logits([source.image(i) for i in range(len(source))]).numpy()
    measured = np.load(tmp_path / "uniform" / "logits" / "0.npz")["logits"]
    np.testing.assert_allclose(logits, measured, atol=1e-4)
    without = np.load(tmp_path / "none" / "logits" / "0.npz")["logits"]
    assert not np.allclose(logits, without, atol=1e-3)


METHODS = {
    "zero_shot": "text",
    "linear_probe": "trained",
    "finetune": "trained",
    "lp_ft": "trained",
    "flyp": "text",
    "label_smoothing": "text",
    "lipsum_ft": "trained",
    "function_space": "trained",
    "dive": "text",
    "carot": "text",
    "tracer": "text",
}


def test_every_method_is_named_here() -> None:
    members = get_args(get_args(Method)[0])
    assert set(METHODS) == {member.model_fields["name"].default for member in members}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_in_a_checkpoint(
    method: str, model_folder: Path, images: Path, tmp_path: Path
) -> None:
    result, listener = run(finetune(model_folder, images, method={"name": method}), tmp_path / "r")
    assert result.checkpoint is not None
    card = Classifier.load(result.checkpoint, device="cpu").card
    assert card.method == method
    assert card.head == METHODS[method]
    assert ("step_done" in listener.types()) == (method != "zero_shot")


def test_a_checkpoint_is_evaluated_with_its_own_head_and_temperature(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(model_folder, images, method={"name": "finetune"})
    trained, _ = run(spec, tmp_path / "run")
    evaluate = EvaluateSpec.model_validate(
        {"model": {"folder": str(trained.checkpoint)}, "dataset": f"folder:{images}"}
    )
    evaluated, listener = run(evaluate, tmp_path / "evaluated")
    assert evaluated.report.datasets == trained.report.datasets
    assert evaluated.report.calibrator == trained.report.calibrator
    assert evaluated.checkpoint is None
    assert "checkpoint_saved" not in listener.types()


def test_without_calibration_images_confidences_stay_raw(
    model_folder: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / "images" / split)
    result, listener = run(finetune(model_folder, tmp_path / "images"), tmp_path / "run")
    assert "no_calibration_split" in [getattr(e, "code", None) for e in listener.events]
    assert result.report.calibrator is None
    assert result.report.datasets[0].calibrated is None
    assert result.checkpoint is not None
    classifier = Classifier.load(result.checkpoint, device="cpu")
    assert classifier.calibration is None
    raw, calibrated = classifier.confidences(torch.randn(3, 2))
    assert torch.equal(raw, calibrated)


def test_shifts_of_any_data_set(model_folder: Path, images: Path, tmp_path: Path) -> None:
    rows = [
        {"name": "clean", "dataset": f"folder:{images}", "in_distribution": True},
        {"name": "noisy", "dataset": f"folder:{images}", "shift": "noise", "severity": 5},
    ]
    spec = finetune(model_folder, images, evaluation={"datasets": rows})
    result, _ = run(spec, tmp_path / "run")
    assert [d.shift for d in result.report.datasets] == [None, "noise"]
    assert result.report.ood_mean is not None
    assert result.report.ood_mean.accuracy == result.report.datasets[1].raw.accuracy
    clean, noisy = (np.load(tmp_path / "run" / "logits" / f"{i}.npz")["logits"] for i in (0, 1))
    assert not np.allclose(clean, noisy)


def refused(spec: FinetuneSpec | EvaluateSpec, folder: Path, error: type[Exception]) -> Any:
    with pytest.raises(error) as caught:
        execute(spec, folder, Listener())
    assert not (folder / "checkpoint").exists()
    assert not (folder / "report.json").exists()
    return caught.value


def test_a_batch_larger_than_the_training_split(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(model_folder, images, training={"batch_size": 64})
    error = refused(spec, tmp_path / "run", SpecError)
    assert error.field == "training.batch_size"
    assert "32 images" in error.message


def test_classes_that_differ_between_training_and_evaluation(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    write_images(tmp_path / "other" / "test", classes=("bright", "grey"))
    rows = [{"name": "other", "dataset": f"folder:{tmp_path / 'other'}"}]
    spec = finetune(model_folder, images, evaluation={"datasets": rows})
    error = refused(spec, tmp_path / "run", ClassMismatch)
    assert "lacks dark" in error.message
    assert "grey" in error.message


def test_a_checkpoint_of_other_classes(model_folder: Path, images: Path, tmp_path: Path) -> None:
    trained, _ = run(finetune(model_folder, images, method={"name": "zero_shot"}), tmp_path / "r")
    write_images(tmp_path / "other", classes=("cat", "dog"), each=40)
    spec = EvaluateSpec.model_validate(
        {"model": {"folder": str(trained.checkpoint)}, "dataset": f"folder:{tmp_path / 'other'}"}
    )
    assert refused(spec, tmp_path / "run", ClassMismatch).field == "dataset"


def test_too_many_unreadable_images(model_folder: Path, images: Path, tmp_path: Path) -> None:
    (images / "train" / "dark" / "torn.png").write_bytes(b"")
    error = refused(finetune(model_folder, images), tmp_path / "run", TooManyUnreadable)
    assert error.names == ["train/dark/torn.png"]


def test_names_for_classes_that_do_not_exist(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(model_folder, images, prompts={"class_names": {"cat": "a cat"}})
    assert refused(spec, tmp_path / "run", SpecError).field == "prompts.class_names"


@pytest.mark.parametrize("reference", ["ds_1", "folder:", "builtin:cats", "file:///etc"])
def test_references_that_cannot_be_opened(
    reference: str, model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(model_folder, images, dataset=reference)
    assert refused(spec, tmp_path / "run", SpecError).field == "dataset"


def test_printed_digits_go_with_digits_only(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    rows = [{"name": "p", "dataset": f"folder:{images}", "shift": "printed"}]
    spec = finetune(model_folder, images, evaluation={"datasets": rows})
    assert "printed" in refused(spec, tmp_path / "run", DataError).message


def test_a_calibrator_of_other_classes_is_refused(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    result, _ = run(finetune(model_folder, images, method={"name": "zero_shot"}), tmp_path / "r")
    assert result.checkpoint is not None
    path = result.checkpoint / CALIBRATOR_NAME
    document = json.loads(path.read_text())
    assert document["label_set_hash"] == label_set_hash(("bright", "dark"))
    document["label_set_hash"] = label_set_hash(("cat", "dog"))
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="another list of classes"):
        Classifier.load(result.checkpoint, device="cpu")


FULL_DISK = """
import resource, sys
from pathlib import Path
from carot.errors import CarotError
from carot.events import Silent
from carot.run import execute
from carot.specs import FinetuneSpec

spec = FinetuneSpec.model_validate_json(sys.argv[1])
# No file may grow beyond this, as on a disk that is full.
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    execute(spec, Path(sys.argv[2]), Silent())
except CarotError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.acceptance
def test_a_full_disk_leaves_nothing_half_written(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(model_folder, images, method={"name": "zero_shot"})
    folder = tmp_path / "run"
    command = [sys.executable, "-c", FULL_DISK, spec.model_dump_json(), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("NoSpace no space left"), done.stderr
    assert list(folder.iterdir()) == []


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "thing"
    with atomic_folder(final) as temporary:
        (temporary / "a").write_text("1")

    def give_up() -> None:
        with atomic_folder(final) as temporary:
            (temporary / "a").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        give_up()
    assert (final / "a").read_text() == "1"
    with atomic_folder(final) as temporary:
        (temporary / "b").write_text("3")
    assert [p.name for p in final.iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["thing"]
