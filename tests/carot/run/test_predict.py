"""A whole data set into a Parquet file: every row against the classifier asked image by image."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from carot.answers import schemas as answers
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.calibrator import TemperatureCalibrator
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.conformal_scores import SCORES
from carot.calibration.sets.shift_score import fit_shift_score
from carot.data.decoding.images import decode_image
from carot.data.shifts.shifts import shift_image
from carot.errors import CalibrationError, DataError, Interrupted, SpecError
from carot.events import ImagesScored, Warning
from carot.models.checkpoints import ClassifierCard, save_checkpoint
from carot.models.classifier import Classifier
from carot.run import Predicted, execute, prediction_file
from carot.specs import PredictSpec, SetMethod
from tests.carot.run.listener import Listener
from tests.carot.tiny import CONFIG, tiny_model, write_images

CLASSES = ("bright", "dark", "other")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Pictures of any colour, so that confidences differ, in all four splits."""
    root, random = tmp_path / "images", np.random.default_rng(0)
    for split, each in {"train": 16, "validation": 4, "calibration": 12, "test": 12}.items():
        for name in ("bright", "dark"):
            (root / split / name).mkdir(parents=True)
            for index in range(each):
                pixels = random.normal(random.uniform(0, 255, 3), 30, (32, 32, 3))
                picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                picture.save(root / split / name / f"{index}.png")
    return root


@pytest.fixture
def checkpoint(tmp_path: Path, images: Path) -> Path:
    """Three classes, and what was learned from made-up labels of blurred features."""
    random = torch.Generator().manual_seed(1)
    model = tiny_model()
    pictures = [decode_image(path, "x") for path in sorted(images.glob("test/*/*.png"))]
    seen_ND = model.encode_images(torch.stack([model.transform(each) for each in pictures]))
    seen_ND = seen_ND.detach().repeat(20, 1)
    noise_ND = 0.1 * torch.randn(seen_ND.shape, generator=random)
    features_ND = torch.nn.functional.normalize(seen_ND + noise_ND, dim=1)
    head_CD = 8 * torch.randn(3, CONFIG["embed_dim"], generator=random)
    # What all images share would make one class certain.
    mean_D = torch.nn.functional.normalize(seen_ND.mean(dim=0), dim=0)
    head_CD = head_CD - torch.outer(head_CD @ mean_D, mean_D)
    logits_NC = features_ND @ head_CD.t()
    labels_N = torch.multinomial((0.5 * logits_NC).softmax(dim=1), 1, generator=random)[:, 0]
    card = ClassifierCard(
        architecture="tiny",
        method="carot",
        classes=CLASSES,
        caption_names=CLASSES,
        templates=("{}",),
        logit_scale=3.0,
        head="trained",
    )
    calibrator = fit_temperature(logits_NC, labels_N, logit_scale=3.0, classes=CLASSES)
    calibration = Calibration(
        calibrator,
        {calibrator.kind: calibrator},
        fit_calibration_evidence(logits_NC, labels_N, classes=CLASSES),
        fit_shift_score(seen_ND + 0.1 * noise_ND),
    )
    folder = tmp_path / "ckpt"
    save_checkpoint(folder, tiny_model(), head_CD, card, calibration)
    return folder


def spec(checkpoint: Path, dataset: str, **changes: Any) -> PredictSpec:
    document = {"model": {"folder": str(checkpoint)}, "dataset": dataset, "batch_size": 5}
    return PredictSpec.model_validate(document | changes)


def scored(asked: PredictSpec, folder: Path) -> tuple[list[dict[str, Any]], Predicted]:
    result = execute(asked, folder, Listener())
    return pq.read_table(result.path).to_pylist(), result


def about(path: Path) -> Any:
    return json.loads(pq.read_schema(path).metadata[b"carot"])


def test_every_row_is_what_the_classifier_says_of_that_image(
    checkpoint: Path, images: Path, tmp_path: Path
) -> None:
    wanted = {"coverage": 0.8, "set_method": "lac", "max_risk": 0.3, "max_shift": 0.5}
    asked = spec(checkpoint, f"folder:{images}", logits=True, top_k=2, **wanted)
    rows, result = scored(asked, tmp_path / "run")
    assert [row["split"] for row in rows] == (
        ["train"] * 32 + ["validation"] * 8 + ["calibration"] * 24 + ["test"] * 24
    )
    classifier = Classifier.load(checkpoint)
    assert classifier.calibration is not None
    evidence, shift_score = classifier.calibration.evidence, classifier.calibration.shift_score
    assert evidence is not None
    assert shift_score is not None
    least = evidence.risk(0.3).threshold
    for row in rows:
        with Image.open(images / row["key"]) as opened:
            image_CHW = classifier.preprocess(opened.convert("RGB"))
        logits_1C, features_1D = classifier.outputs_of(image_CHW[None])
        raw_1C, calibrated_1C = classifier.confidences(logits_1C)
        raw, calibrated = raw_1C[0].tolist(), calibrated_1C[0].tolist()
        order = sorted(range(3), key=lambda c: -raw[c])
        assert row["logits"] == pytest.approx(logits_1C[0].tolist(), abs=1e-4)
        assert [guess["index"] for guess in row["top"]] == order[:2]
        assert row["top"][0] == {
            "label": CLASSES[order[0]],
            "index": row["prediction_index"],
            "confidence": row["confidence"],
            "raw_confidence": row["raw_confidence"],
            "logit": pytest.approx(max(row["logits"])),
        }
        assert row["prediction"] == CLASSES[order[0]]
        assert row["confidence"] == pytest.approx(calibrated[order[0]], abs=1e-5)
        assert row["raw_confidence"] == pytest.approx(raw[order[0]], abs=1e-5)
        # LAC: the classes whose probability is at least e to minus the threshold.
        limit = math.exp(-evidence.sets["lac"].threshold(0.8) - 1e-12)
        members = {c for c in order if raw[c] >= limit} | {order[0]}
        assert row["set"] == [CLASSES[c] for c in order if c in members]
        assert row["set_size"] == len(members)
        near = evidence.evidence.at(row["raw_confidence"])
        if near is None:
            assert row["evidence_count"] is None
        else:
            assert (row["evidence_count"], row["evidence_right"]) == (near.count, near.right)
            assert row["evidence_share"] == near.right / near.count
            assert (row["evidence_low"], row["evidence_high"]) == near.interval
        shift = float(shift_score.percentiles(features_1D)[0])
        assert row["shift"] == pytest.approx(shift, abs=0.01)
        reasons = ["low_confidence"] * (row["raw_confidence"] < least) + ["shifted"] * (
            row["shift"] > 0.5
        )
        assert (row["abstain_reasons"], row["abstain"]) == (reasons, bool(reasons))
        assert row["label"] == Path(row["key"]).parent.name
        assert row["label_index"] == CLASSES.index(row["label"])
        assert row["correct"] == (row["label"] == row["prediction"])
        assert row["error"] is None
    seen = {tuple(row["abstain_reasons"]) for row in rows}
    assert seen == {(), ("low_confidence",), ("shifted",), ("low_confidence", "shifted")}
    summary = result.summary
    assert (summary.images, summary.labelled, summary.errors) == (88, 88, 0)
    assert summary.accuracy == sum(row["correct"] for row in rows) / 88
    assert summary.mean_confidence == pytest.approx(sum(row["confidence"] for row in rows) / 88)
    answered = [row["correct"] for row in rows if not row["abstain"]]
    assert summary.abstained == 88 - len(answered)
    assert summary.accepted_accuracy == pytest.approx(sum(answered) / len(answered))
    assert json.loads((result.path.parent / "predictions.json").read_text()) == (
        summary.model_dump(mode="json")
    )


def test_the_file_says_what_made_it(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    asked = spec(checkpoint, f"folder:{images}", split="test", coverage=0.9, max_risk=0.3)
    _, result = scored(asked, tmp_path / "run")
    told = about(result.path)
    assert told["classes"] == list(CLASSES)
    assert told["checkpoint"] == "ckpt"
    assert (told["asked"]["coverage"], told["asked"]["split"]) == (0.9, "test")
    calibrator = Classifier.load(checkpoint).calibrator
    assert isinstance(calibrator, TemperatureCalibrator)
    assert told["calibrator"]["kind"] == "temperature"
    assert told["calibrator"]["temperature"] == calibrator.temperature
    assert told["limits"]["risk"]["threshold"] > 0
    assert "90 % of the sets" in told["limits"]["guarantee"]
    metadata = pq.read_metadata(result.path).metadata
    assert json.loads(metadata[b"carot.summary"])["images"] == 24


def test_images_without_classes(checkpoint: Path, tmp_path: Path) -> None:
    root = tmp_path / "loose"
    write_images(root / "deep", classes=("a", "b"), each=3)
    (root / "deep" / "a" / "0.png").rename(root / "top.PNG")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes(b"")
    (root / ".git").mkdir()
    (root / ".git" / "x.png").write_bytes(b"")
    (root / "deep" / "b" / "2.png").rename(root / os.fsdecode(b"deep/b/2\xff.png"))
    rows, result = scored(spec(checkpoint, f"images:{root}"), tmp_path / "run")
    assert [row["key"] for row in rows] == [
        *(f"deep/a/{i}.png" for i in (1, 2)),
        *(f"deep/b/{i}.png" for i in range(2)),
        r"deep/b/2\udcff.png",
        "top.PNG",
    ]
    for row in rows:
        assert row["prediction"] in CLASSES
        assert {row[name] for name in ("split", "label", "label_index", "correct")} == {None}
        assert row["abstain"] == (row["shift"] > 0.99)
        assert len(row["set"]) == row["set_size"] > 0
        assert "logits" not in row
    assert (result.summary.labelled, result.summary.accuracy) == (0, None)


def test_classes_that_the_checkpoint_does_not_know(checkpoint: Path, tmp_path: Path) -> None:
    root = write_images(tmp_path / "set" / "test", classes=("dark", "unknown"), each=4).parent
    rows, result = scored(spec(checkpoint, f"folder:{root}"), tmp_path / "run")
    known = [row for row in rows if row["label"] == "dark"]
    assert {row["label_index"] for row in known} == {1}
    assert all(row["correct"] == (row["prediction"] == "dark") for row in known)
    strange = [row for row in rows if row["label"] == "unknown"]
    assert [(row["label_index"], row["correct"]) for row in strange] == [(None, None)] * 4
    assert (result.summary.labelled, result.summary.images) == (4, 8)


def test_what_cannot_be_read_has_a_row_too(checkpoint: Path, tmp_path: Path) -> None:
    root = write_images(tmp_path / "loose", classes=("a",), each=12)
    broken = ["0", "5", "6", "7", "8", "9"]  # a whole batch among them
    for name in broken:
        (root / "a" / f"{name}.png").write_bytes(b"not a picture")
    listener = Listener()
    result = execute(spec(checkpoint, f"images:{root}"), tmp_path / "run", listener)
    rows = {row["key"]: row for row in pq.read_table(result.path).to_pylist()}
    assert len(rows) == 12
    for key, row in rows.items():
        if Path(key).stem in broken:
            assert row["error"]
            assert {value for name, value in row.items() if name not in ("key", "error")} == {None}
        else:
            assert row["error"] is None
            assert row["top"]
    assert result.summary.errors == 6
    warned = [event.names for event in listener.events if isinstance(event, Warning)]
    assert sorted(warned) == sorted((f"a/{name}.png",) for name in broken)
    for path in (root / "a").iterdir():
        path.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="no image can be answered"):
        execute(spec(checkpoint, f"images:{root}"), tmp_path / "none", Listener())
    assert list((tmp_path / "none").iterdir()) == []


def test_images_are_seen_through_a_shift(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    plain, _ = scored(spec(checkpoint, f"images:{images}", logits=True), tmp_path / "plain")
    asked = spec(checkpoint, f"images:{images}", logits=True, shift="noise", severity=5)
    rows, _ = scored(asked, tmp_path / "shifted")
    assert [row["logits"] for row in rows] != [row["logits"] for row in plain]
    classifier = Classifier.load(checkpoint)
    with Image.open(images / rows[7]["key"]) as opened:
        seen = shift_image(opened.convert("RGB"), "noise", 5, rows[7]["key"])
    assert rows[7]["logits"] == pytest.approx(classifier.logits([seen])[0].tolist(), abs=1e-4)


def test_rows_are_written_as_they_come(
    checkpoint: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_file, "GROUP_ROWS", 12)
    listener = Listener()
    result = execute(spec(checkpoint, f"folder:{images}"), tmp_path / "run", listener)
    metadata = pq.read_metadata(result.path)
    assert metadata.num_rows == 88
    assert metadata.num_row_groups == 6
    steps = [(e.images, e.total) for e in listener.events if isinstance(e, ImagesScored)]
    assert steps[-1] == (88, 88)
    assert [images for images, _ in steps[:3]] == [5, 10, 15]


def test_a_run_that_is_stopped_leaves_nothing_half(
    checkpoint: Path, images: Path, tmp_path: Path
) -> None:
    asked, folder = spec(checkpoint, f"folder:{images}"), tmp_path / "run"
    listener = Listener()
    with pytest.raises(Interrupted):
        execute(asked, folder, listener, should_stop=lambda: len(listener.events) > 4)
    assert list(folder.iterdir()) == []
    rows, _ = scored(asked, folder)
    assert len(rows) == 88


@pytest.mark.parametrize("field", ["coverage", "max_risk", "max_shift"])
def test_an_old_checkpoint_says_what_it_cannot_answer(
    field: str, checkpoint: Path, images: Path, tmp_path: Path
) -> None:
    (checkpoint / "grounds.json").unlink()
    (checkpoint / "shift_score.safetensors").unlink()
    with pytest.raises(CalibrationError) as caught:
        execute(spec(checkpoint, f"folder:{images}", **{field: 0.9}), tmp_path / "run", Listener())
    assert caught.value.field == field
    rows, _ = scored(spec(checkpoint, f"folder:{images}"), tmp_path / "run")
    assert {rows[0][name] for name in ("shift", "evidence_count", "set", "abstain")} == {None}
    assert rows[0]["abstain_reasons"] == ["no_shift_score"]


@pytest.mark.parametrize(
    ("changes", "field"), [({"coverage": 0.9999}, "coverage"), ({"max_risk": 1e-6}, "max_risk")]
)
def test_what_the_calibration_split_is_too_small_for(
    changes: dict[str, float], field: str, checkpoint: Path, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(CalibrationError) as caught:
        execute(spec(checkpoint, f"folder:{images}", **changes), tmp_path / "run", Listener())
    assert caught.value.field == field


def test_what_cannot_be_predicted(
    checkpoint: Path, model_folder: Path, images: Path, tmp_path: Path
) -> None:
    def refused(asked: PredictSpec) -> tuple[type[Exception], str | None]:
        with pytest.raises((SpecError, DataError)) as caught:
            execute(asked, tmp_path / "run", Listener())
        return caught.type, caught.value.field

    write_images(tmp_path / "half" / "train")
    half = f"folder:{tmp_path / 'half'}"
    assert refused(spec(model_folder, f"folder:{images}")) == (SpecError, "model")
    assert refused(spec(checkpoint, half, split="test")) == (DataError, "split")
    assert refused(spec(checkpoint, half, shift="printed")) == (DataError, "shift")
    assert refused(spec(checkpoint, f"images:{tmp_path / 'none'}")) == (DataError, "dataset")
    (tmp_path / "empty").mkdir()
    assert refused(spec(checkpoint, f"images:{tmp_path / 'empty'}")) == (DataError, "dataset")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"model": {"architecture": "carot-mini"}}, ("model",)),
        ({"dataset": "images:x", "split": "test"}, ("split",)),
        ({"coverage": 1.0}, ("coverage",)),
        ({"max_risk": 0.0}, ("max_risk",)),
        ({"set_method": "x"}, ("set_method",)),
        ({"evaluation": {}}, ("evaluation",)),
    ],
)
def test_specs_that_are_wrong(changes: dict[str, Any], place: Sequence[str]) -> None:
    document = {"model": {"folder": "x"}, "dataset": "builtin:digits"} | changes
    with pytest.raises(ValidationError) as caught:
        PredictSpec.model_validate(document)
    assert [error["loc"] for error in caught.value.errors()] == [place]


def test_images_without_classes_are_for_nothing_else(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    from tests.carot.run.listener import finetune

    asked = finetune(model_folder, images).model_copy(update={"dataset": f"images:{images}"})
    with pytest.raises(SpecError, match="can only be predicted"):
        execute(asked, tmp_path / "run", Listener())


def test_numbers_that_are_none_are_errors(
    checkpoint: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(checkpoint, f"folder:{images}", split="test", logits=True)
    whole = Classifier.outputs_of

    def broken(self: Classifier, images_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits_NC, features_ND = whole(self, images_NCHW)
        logits_NC[0, 0] = torch.nan
        return logits_NC, features_ND

    monkeypatch.setattr(Classifier, "outputs_of", broken)
    rows, result = scored(asked, tmp_path / "run")
    for place, row in enumerate(rows):
        assert (row["error"] is not None) == (place % 5 == 0)
        assert (row["prediction"] is None) == (row["logits"] is None) == (place % 5 == 0)
    assert result.summary.errors == 5


def test_sets_are_made_in_the_ways_that_there_are() -> None:
    assert get_args(SetMethod) == get_args(answers.SplitMethod) == tuple(SCORES)
