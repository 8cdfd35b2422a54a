"""Suites: which rows a word stands for, and a whole evaluation of the one of ImageNet."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

from carot.data.formats import imagenet
from carot.data.formats.wordnet import imagenet_templates
from carot.data.resolve import open_dataset
from carot.data.shifts.corruptions import CORRUPTIONS
from carot.errors import ClassMismatch, DataError, SpecError
from carot.evaluation.rows import evaluation_rows
from carot.evaluation.suites import Suite, suite, suite_names, suite_rows
from carot.events import Silent
from carot.models.checkpoints import load_card
from carot.models.prompts import Captions, caption_names, zero_shot_head
from carot.run import execute
from carot.specs import SHIFT_NAMES, EvaluateSpec, EvaluationSpec, FinetuneSpec, PromptSpec
from tests.carot.data.formats.imagenet_tree import IDS, OBJECTNET, R_IDS, build_family
from tests.carot.tiny import save_tiny, tiny_model, write_images
from tests.paths import DOCS

DIGITS = "builtin:digits"
FAMILY = ["imagenet", "imagenet-v2", "imagenet-r", "imagenet-a", "imagenet-sketch", "objectnet"]


def test_every_suite_has_one_row_in_distribution_and_names_that_differ() -> None:
    assert suite_names() == ("corruptions", "digits", "imagenet", "imagenet-c")
    for name in suite_names():
        root = "/data" if suite(name).wants("root") else None
        spec = EvaluationSpec(suite=name, root=root, severities=(1, 2, 3, 4, 5))
        rows = suite_rows(name, spec, dataset=DIGITS, split=lambda: "test")
        assert [row.in_distribution for row in rows] == [True] + [False] * (len(rows) - 1)
        # As a list of a spec's own they would be as good.
        EvaluationSpec(datasets=rows)
        assert suite(name).description
        # A worker writes the rows of a suite under a root, and does not know which split there is.
        assert not (suite(name).wants("root") and suite(name).wants("split"))


def test_digits_is_the_default_of_the_bundled_digits() -> None:
    for spec in (
        EvaluationSpec(severities=(2, 5)),
        EvaluationSpec(suite="digits", severities=(2, 5)),
    ):
        rows = evaluation_rows(spec, DIGITS)
        expected = [f"{shift}-{s}" for shift in (*SHIFT_NAMES, "printed") for s in (2, 5)]
        assert [row.name for row in rows] == ["test", *expected]
        assert [(row.shift, row.severity) for row in rows[1:]] == [
            (shift, s) for shift in (*SHIFT_NAMES, "printed") for s in (2, 5)
        ]
        assert {(row.dataset, row.split, row.restrict) for row in rows} == {(DIGITS, "test", False)}


def test_corruptions_of_any_data_set(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        write_images(tmp_path / split)
    reference = f"folder:{tmp_path}"
    spec = EvaluationSpec(suite="corruptions", severities=(1, 4, 1))
    rows = evaluation_rows(spec, reference)
    assert [row.name for row in rows] == [
        "validation",
        *(f"{name}-{severity}" for name in CORRUPTIONS for severity in (1, 4)),
    ]
    assert {(row.dataset, row.split) for row in rows} == {(reference, "validation")}
    assert [row.shift for row in rows] == [None, *(name for name in CORRUPTIONS for _ in (1, 4))]
    assert [row.split for row in evaluation_rows(spec, DIGITS)] == ["test"] * 21
    # Other data sets without a suite have one row, as before.
    [row] = evaluation_rows(EvaluationSpec(), reference)
    assert (row.name, row.split, row.in_distribution) == ("validation", "validation", True)


@pytest.mark.parametrize("root", ["/data", "/data/", "here", ".", "/"])
def test_imagenet_lies_under_a_root(root: str) -> None:
    rows = evaluation_rows(EvaluationSpec(suite="imagenet", root=root), "imagenet:elsewhere")
    assert [row.name for row in rows] == FAMILY
    for row in rows:
        scheme, _, path = row.dataset.partition(":")
        assert (scheme, Path(path)) == (row.name, Path(root) / row.name)
        assert row.restrict == (row.name in ("imagenet-r", "imagenet-a", "objectnet"))
        assert (row.split, row.shift) == ("test", None)


def test_imagenet_c_has_a_row_for_each_corruption_and_severity() -> None:
    spec = EvaluationSpec(suite="imagenet-c", root="/data", severities=(1, 5))
    rows = evaluation_rows(spec, "imagenet:/data/imagenet")
    assert len(rows) == 1 + 15 * 2
    assert rows[2].name == "gaussian_noise-5"
    assert rows[2].dataset == "imagenet-c:/data/imagenet-c/gaussian_noise/5"


def test_what_a_path_spells_is_taken_as_it_is() -> None:
    spec = EvaluationSpec(suite="imagenet-c", root="/{each}/{dataset}", severities=(2,))
    row = evaluation_rows(spec, "x:y")[1]
    assert row.dataset == "imagenet-c:/{each}/{dataset}/imagenet-c/gaussian_noise/2"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"suite": "digits", "datasets": [{"name": "a", "dataset": DIGITS}]}, "suite"),
        ({"root": "/data"}, "root"),
        ({"suite": "../digits"}, "suite"),
        ({"suite": ""}, "suite"),
    ],
)
def test_specs_that_contradict_themselves(document: dict, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EvaluationSpec.model_validate(document)
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ({"suite": "cifar"}, "evaluation.suite", "there are corruptions, digits, imagenet"),
        ({"suite": "imagenet"}, "evaluation.root", "needs root"),
        ({"suite": "digits", "root": "/data"}, "evaluation.root", "takes no root"),
    ],
)
def test_suites_that_cannot_be_opened(document: dict, field: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        evaluation_rows(EvaluationSpec.model_validate(document), DIGITS)
    assert caught.value.field == field


def test_the_page_about_suites_can_be_followed() -> None:
    page = (DOCS / "suites.md").read_text(encoding="utf-8")
    evaluation, own = (
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    )
    spec = EvaluateSpec.model_validate(evaluation)
    assert [row.name for row in evaluation_rows(spec.evaluation, spec.dataset)] == FAMILY
    assert Suite.model_validate(own).wants("root")
    [sent] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    EvaluateSpec.model_validate_json(sent)
    for name in (*suite_names(), *CORRUPTIONS):
        assert f"`{name}`" in page
    for scheme in imagenet.OPENERS:
        assert f"`{scheme}:/" in page


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def evaluate(model: Path, root: Path, **changes: object) -> EvaluateSpec:
    return EvaluateSpec.model_validate(
        {
            "model": {"folder": str(model)},
            "dataset": f"imagenet:{root}/imagenet",
            "prompts": {"templates": ["a photo of a {}.", "{}"]},
            "evaluation": {"suite": "imagenet", "root": str(root)},
            **changes,
        }
    )


def softmax(row: list[float]) -> list[float]:
    powers = [math.exp(value - max(row)) for value in row]
    return [power / math.fsum(powers) for power in powers]


@pytest.mark.slow
def test_imagenet_and_its_five_shifts_in_one_report(model_folder: Path, tmp_path: Path) -> None:
    root = build_family(tmp_path / "data")
    report = execute(evaluate(model_folder, root), tmp_path / "run", Silent()).report
    rows = {row.name: row for row in report.datasets}
    assert list(rows) == FAMILY
    assert report.classes == IDS
    assert report.in_distribution == "imagenet"
    assert {name: row.classes for name, row in rows.items()} == dict(
        zip(FAMILY, (10, 10, 3, 2, 10, 3), strict=True)
    )
    assert report.calibrator is not None
    assert report.calibrator.n == 3 * len(IDS)
    shifts = [rows[name].raw for name in FAMILY[1:]]
    assert report.ood_mean is not None
    assert report.ood_mean.datasets == 5
    assert report.ood_mean.accuracy == pytest.approx(np.mean([s.accuracy for s in shifts]))
    assert report.ood_mean.nll == pytest.approx(np.mean([s.nll for s in shifts]))

    # The same from the model alone: all ten logits first, then those that count.
    model = tiny_model()
    captions = Captions(model, caption_names(IDS, PromptSpec()), ("a photo of a {}.", "{}"))
    head = float(model.logit_scale.detach().exp()) * zero_shot_head(model, captions)
    members = {
        "imagenet-r": [[IDS.index(each)] for each in R_IDS],
        "objectnet": [[IDS.index(i) for i in OBJECTNET[name]] for name in sorted(OBJECTNET)],
    }
    for name, groups in members.items():
        source = open_dataset(f"{name}:{root}/{name}", "test")
        images = torch.stack([model.transform(source.image(i)) for i in range(len(source))])
        full = (model.encode_images(images) @ head.t()).detach().double().tolist()
        own = [[max(row[i] for i in group) for group in groups] for row in full]
        nll = [-math.log(softmax(row)[y]) for row, y in zip(own, source.labels, strict=True)]
        assert rows[name].raw.nll == pytest.approx(np.mean(nll), rel=1e-4)
        warmed = [[value / report.calibrator.temperature for value in row] for row in own]
        top = [max(softmax(row)) for row in warmed]
        calibrated = rows[name].calibrated
        assert calibrated is not None
        assert calibrated.mean_confidence == pytest.approx(np.mean(top), rel=1e-4)
        kept = np.load(tmp_path / "run" / "logits" / f"{FAMILY.index(name)}.npz")
        np.testing.assert_allclose(kept["logits"], own, atol=1e-3)
        np.testing.assert_array_equal(kept["labels"], source.labels)
    document = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [row["classes"] for row in document["datasets"]] == [10, 10, 3, 2, 10, 3]


@pytest.mark.slow
def test_what_a_suite_lacks_on_disk_is_named_before_anything_is_measured(
    model_folder: Path, tmp_path: Path
) -> None:
    root = build_family(tmp_path / "data")
    (root / "imagenet-a").rename(root / "natural-adversarial")
    with pytest.raises(DataError, match=f"{root}/imagenet-a: no such folder") as caught:
        execute(evaluate(model_folder, root), tmp_path / "run", Silent())
    assert caught.value.field == "evaluation.datasets[imagenet-a].dataset"
    assert not (tmp_path / "run" / "logits").exists()
    rows = [{"name": "r", "dataset": f"imagenet-r:{root}/imagenet-r"}]
    spec = evaluate(model_folder, root, evaluation={"datasets": rows})
    with pytest.raises(ClassMismatch, match="set restrict"):
        execute(spec, tmp_path / "run", Silent())


@pytest.mark.slow
def test_a_classifier_of_imagenet_is_written_down_with_clips_captions(
    model_folder: Path, tmp_path: Path
) -> None:
    root = build_family(tmp_path / "data")
    spec = FinetuneSpec.model_validate(
        {
            "model": {"folder": str(model_folder)},
            "dataset": f"imagenet:{root}/imagenet",
            "method": {"name": "zero_shot"},
        }
    )
    result = execute(spec, tmp_path / "run", Silent())
    assert result.checkpoint is not None
    card = load_card(result.checkpoint)
    assert (card.classes, card.templates) == (IDS, imagenet_templates())
    assert card.caption_names[:2] == ("tench", "great white shark")
    assert [row.name for row in result.report.datasets] == ["test"]
