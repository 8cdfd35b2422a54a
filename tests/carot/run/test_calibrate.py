"""What runs learn from their calibration split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carot.calibration.calibrators.automatic import choose_calibrator
from carot.calibration.calibrators.calibrator import DomainCalibrator, TemperatureCalibrator
from carot.calibration.calibrators.fitting import Sample, fit_calibrator
from carot.calibration.sets.conformal_scores import SCORES
from carot.data.formats.folder import open_folder
from carot.errors import ClassMismatch
from carot.evaluation.reports import Report
from carot.events import Warning
from carot.models.checkpoints import (
    CALIBRATORS_NAME,
    EVIDENCE_NAME,
    SHIFT_SCORE_NAME,
    load_calibration,
)
from carot.models.classifier import Classifier
from carot.run import RunResult
from carot.specs import CALIBRATORS, OWN_DOMAIN, EvaluateSpec, InterpolateSpec
from tests.carot.run.listener import Listener, finetune, run
from tests.carot.tiny import write_images

pytestmark = pytest.mark.slow
NEED_NOTHING = tuple(kind for kind in CALIBRATORS if kind != "domain_temperature")


def evaluated(
    model: Path, images: Path, folder: Path, calibration: dict[str, Any], **fields: Any
) -> tuple[RunResult, Listener]:
    document = {
        "model": {"folder": str(model)},
        "dataset": f"folder:{images}",
        "calibration": calibration,
        **fields,
    }
    return run(EvaluateSpec.model_validate(document), folder)


def warnings(listener: Listener) -> dict[str, Warning]:
    return {event.code: event for event in listener.events if isinstance(event, Warning)}


def kinds(report: Report) -> list[str]:
    assert report.calibration is not None
    return [each.kind for each in report.calibration.calibrators if each.calibrator is not None]


def rows(images: Path) -> dict[str, Any]:
    return {
        "datasets": [
            {"name": "noisy", "dataset": f"folder:{images}", "shift": "noise", "severity": 5},
            {"name": "clean", "dataset": f"folder:{images}", "in_distribution": True},
        ]
    }


def test_every_kind_is_fitted_kept_and_measured_on_every_data_set(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(model_folder, images, method={"name": "zero_shot"}, evaluation=rows(images))
    result, listener = run(spec, tmp_path / "run")
    report = result.report
    assert tuple(kinds(report)) == NEED_NOTHING
    summary = report.calibration
    assert summary is not None
    assert (summary.images, summary.asked, summary.served) == (24, "temperature", "temperature")
    [left_out] = [each for each in summary.calibrators if each.calibrator is None]
    assert left_out.kind == "domain_temperature"
    assert left_out.reason == "no domains are named (calibration.domains)"
    assert "calibrator_not_fitted" not in warnings(listener)  # nobody asked for it
    assert report.calibrator in [each.calibrator for each in summary.calibrators]
    for row in report.datasets:
        assert tuple(each.kind for each in row.calibrators) == NEED_NOTHING
        assert row.calibrators[0].metrics == row.calibrated
        assert {(each.method, each.asked) for each in row.sets} == {
            (method, asked) for method in SCORES for asked in (0.9, 0.95)
        }
        assert [each.max_risk for each in row.risks] == [0.01, 0.05]
        assert row.shift_score is not None
    noisy, clean = report.datasets
    assert noisy.shift_score.auroc is not None  # also where it comes before the clean ones
    assert clean.shift_score.auroc is None
    assert report.ood_mean is not None
    assert [each.kind for each in report.ood_mean.calibrators] == list(NEED_NOTHING)
    assert result.checkpoint is not None
    kept = load_calibration(result.checkpoint)
    assert kept is not None
    assert tuple(kept.fitted) == NEED_NOTHING
    assert kept.evidence is not None
    assert kept.shift_score is not None
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_the_split_is_too_small_for_a_coverage_and_a_risk(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    asked = {"coverages": [0.5, 0.99], "max_risks": [0.001]}
    result, _ = evaluated(model_folder, images, tmp_path / "run", asked)
    [row] = result.report.datasets
    for each in row.sets:
        assert (each.measured is None) == (each.asked == 0.99)
        assert (each.expected is None) == (each.asked == 0.99 or each.method == "mondrian")
        assert ("99 calibration images" in (each.reason or "")) == (each.asked == 0.99)
    [risk] = row.risks
    assert (risk.threshold, risk.accepted, risk.risk) == (None, None, None)
    assert "no confidence threshold" in (risk.reason or "")


def test_another_kind_is_served(model_folder: Path, images: Path, tmp_path: Path) -> None:
    calibration = {"calibrator": "isotonic", "also": ["vector"]}
    spec = finetune(model_folder, images, method={"name": "zero_shot"}, calibration=calibration)
    result, _ = run(spec, tmp_path / "run")
    assert kinds(result.report) == ["isotonic", "vector"]
    assert result.report.calibrator.kind == "isotonic"
    [row] = result.report.datasets
    assert row.calibrated == row.calibrators[0].metrics
    assert result.checkpoint is not None
    assert Classifier.load(result.checkpoint, device="cpu").calibrator == result.report.calibrator


def test_the_automatic_choice_is_kept_with_its_scores(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    result, _ = evaluated(
        model_folder, images, tmp_path / "run", {"calibrator": "auto", "perturbations": []}
    )
    report = result.report
    classifier = zero_shot(model_folder, images, tmp_path)
    logits, labels = outputs(classifier, images, "calibration")
    compared = [kind for kind in CALIBRATORS if kind != "domain_temperature"]
    expected = choose_calibrator(
        Sample(logits, labels), compared, classes=classifier.classes, logit_scale=SCALE
    )
    choice = report.calibration.choice
    assert choice is not None
    assert choice.calibrator.kind == expected.calibrator.kind == report.calibrator.kind
    for ours, theirs in zip(choice.scores, expected.scores, strict=True):
        assert ours.kind == theirs.kind
        assert ours.nll == (None if theirs.nll is None else pytest.approx(theirs.nll, abs=1e-4))
    assert (report.calibration.asked, report.calibration.served) == ("auto", choice.calibrator.kind)


SCALE = 14.285714149475098


def zero_shot(model: Path, images: Path, tmp_path: Path) -> Classifier:
    """The same model as a checkpoint, to see its logits."""
    spec = finetune(model, images, method={"name": "zero_shot"})
    result, _ = run(spec, tmp_path / "zero-shot")
    assert result.checkpoint is not None
    return Classifier.load(result.checkpoint, device="cpu")


def outputs(classifier: Classifier, images: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    source = open_folder(images, split)
    logits = classifier.logits([source.image(i) for i in range(len(source))])
    return logits, torch.from_numpy(source.labels)


def test_perturbed_images_are_those_of_the_calibration_split(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    perturbations = [{"shift": "noise", "severity": 5}, {"shift": "inverted", "severity": 1}]
    calibration = {
        "calibrator": "perturbed_temperature",
        "also": ["temperature"],
        "perturbations": perturbations,
    }
    datasets = [
        {"name": str(i), "dataset": f"folder:{images}", "split": "calibration", **each}
        for i, each in enumerate([{}, *perturbations])
    ]
    result, _ = evaluated(
        model_folder, images, tmp_path / "run", calibration, evaluation={"datasets": datasets}
    )
    kept = [np.load(tmp_path / "run" / "logits" / f"{i}.npz") for i in range(3)]
    versions = [torch.from_numpy(each["logits"]) for each in kept]
    labels = torch.from_numpy(kept[0]["labels"])
    expected = fit_calibrator(
        "perturbed_temperature", Sample(versions[0], labels, versions=versions[1:])
    )
    assert isinstance(expected, TemperatureCalibrator)
    assert result.report.calibrator.temperature == pytest.approx(expected.temperature, rel=1e-6)
    clean = fit_calibrator("temperature", Sample(versions[0], labels))
    by_kind = {e.kind: e.calibrator for e in result.report.calibration.calibrators}
    assert by_kind["temperature"].temperature == pytest.approx(clean.temperature, rel=1e-6)


def test_each_row_takes_the_temperature_of_its_domain(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    write_images(images / "calibration", each=110)
    dark = {"shift": "inverted", "severity": 2}
    domains = [
        {"name": "dark", "dataset": f"folder:{images}", **dark},
        {"name": "few", "dataset": f"folder:{images}", "split": "test"},
    ]
    datasets = [
        {"name": "own", "dataset": f"folder:{images}", "in_distribution": True},
        {"name": "dark", "dataset": f"folder:{images}", **dark, "domain": "dark"},
        {"name": "unsaid", "dataset": f"folder:{images}", **dark},
        {"name": "few", "dataset": f"folder:{images}", "domain": "few"},
    ]
    result, _ = evaluated(
        model_folder,
        images,
        tmp_path / "run",
        {"calibrator": "domain_temperature", "also": [], "domains": domains},
        evaluation={"datasets": datasets},
    )
    fitted = result.report.calibrator
    assert isinstance(fitted, DomainCalibrator)
    assert fitted.counts == {"dark": 220, "few": 24, OWN_DOMAIN: 220}
    assert set(fitted.temperatures) == {"dark", OWN_DOMAIN}
    assert [row.domain for row in result.report.datasets] == [OWN_DOMAIN, "dark", None, None]
    assert len({*fitted.temperatures.values(), fitted.pooled}) == 3
    for index, temperature in enumerate(
        [fitted.temperatures[OWN_DOMAIN], fitted.temperatures["dark"], fitted.pooled]
    ):
        kept = np.load(tmp_path / "run" / "logits" / f"{index}.npz")
        log = (torch.from_numpy(kept["logits"]).double() / temperature).log_softmax(1)
        nll = -log.gather(1, torch.from_numpy(kept["labels"])[:, None]).mean()
        assert result.report.datasets[index].calibrated.nll == pytest.approx(float(nll))


def test_a_domain_of_other_classes_is_refused_before_anything_is_trained(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    write_images(tmp_path / "other" / "calibration", classes=("bright", "grey"))
    domains = [{"name": "other", "dataset": f"folder:{tmp_path / 'other'}"}]
    spec = finetune(model_folder, images, calibration={"domains": domains})
    with pytest.raises(ClassMismatch) as caught:
        run(spec, tmp_path / "run")
    assert caught.value.field == "calibration.domains[other]"
    assert not (tmp_path / "run" / "snapshot").exists()


def test_what_cannot_be_fitted_is_replaced_and_told(model_folder: Path, tmp_path: Path) -> None:
    names = tuple(f"class {i:03d}" for i in range(101))
    for split in ("calibration", "test"):
        write_images(tmp_path / "many" / split, classes=names, each=1)
    result, listener = evaluated(
        model_folder, tmp_path / "many", tmp_path / "run", {"calibrator": "vector", "also": []}
    )
    warning = warnings(listener)["calibrator_not_fitted"]
    assert warning.names == ("vector",)
    assert warning.message.startswith("vector: vector scaling is for at most 100 classes")
    assert warning.message.endswith("; temperature is served")
    assert result.report.calibrator.kind == "temperature"
    assert kinds(result.report) == ["temperature"]


@pytest.mark.parametrize("classes", [("bright",), ("bright", "dark")])
@pytest.mark.parametrize("calibrator", ["temperature", "auto"])
def test_one_calibration_image_of_a_class_is_enough_to_go_on(
    calibrator: str, classes: tuple[str, ...], model_folder: Path, images: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / "few" / split)
    write_images(tmp_path / "few" / "calibration", classes=classes, each=1)
    result, listener = evaluated(
        model_folder, tmp_path / "few", tmp_path / "run", {"calibrator": calibrator}
    )
    told = warnings(listener)
    assert "no_shift_score" in told
    if len(classes) == 1:
        assert "temperature" in told["calibrator_at_bound"].names
    [row] = result.report.datasets
    assert row.calibrated is not None
    assert row.shift_score is None
    assert all(each.measured is None for each in row.sets)
    assert all(each.threshold is None for each in row.risks)


def test_a_calibrator_that_harms_its_own_images_is_told(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    calibration = {
        "calibrator": "perturbed_temperature",
        "perturbations": [{"shift": "inverted", "severity": 5}],
    }
    result, listener = evaluated(model_folder, images, tmp_path / "run", calibration)
    summary = result.report.calibration
    by_kind = {each.kind: each for each in summary.calibrators}
    harmful = by_kind["perturbed_temperature"].nll > summary.raw_nll
    assert by_kind["temperature"].nll <= summary.raw_nll
    assert ("calibrator_hurts" in warnings(listener)) == harmful


def test_an_old_checkpoint_can_be_fitted_anew(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = finetune(model_folder, images, method={"name": "zero_shot"})
    trained, _ = run(spec, tmp_path / "trained")
    assert trained.checkpoint is not None
    for name in (CALIBRATORS_NAME, EVIDENCE_NAME, SHIFT_SCORE_NAME):
        (trained.checkpoint / name).unlink()
    old, listener = evaluated(trained.checkpoint, images, tmp_path / "old", {})
    assert "no_grounds" in warnings(listener)
    [row] = old.report.datasets
    assert row.calibrated == trained.report.datasets[0].calibrated
    assert (row.sets, row.risks, row.shift_score) == ((), (), None)
    assert kinds(old.report) == ["temperature"]
    assert old.report.calibration.asked is None
    again, listener = evaluated(trained.checkpoint, images, tmp_path / "anew", {"refit": True})
    assert "no_grounds" not in warnings(listener)
    assert again.report.datasets == trained.report.datasets


def test_the_alphas_that_are_not_kept_are_served_alike(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    trained, _ = run(finetune(model_folder, images), tmp_path / "trained")
    spec = InterpolateSpec.model_validate(
        {
            "model": {"folder": str(trained.checkpoint)},
            "start": {"folder": str(model_folder)},
            "alphas": [0.0, 0.5, 1.0],
            "dataset": f"folder:{images}",
            "calibration": {"calibrator": "isotonic"},
        }
    )
    result, _ = run(spec, tmp_path / "wise")
    for candidate in result.report.candidates:
        [row] = candidate.datasets
        measured = [each.kind for each in row.calibrators]
        assert measured == (list(NEED_NOTHING) if candidate.chosen else ["isotonic"])
        assert row.calibrated in [each.metrics for each in row.calibrators]
    assert json.loads((result.checkpoint / "calibrator.json").read_text())["kind"] == "isotonic"


def lopsided(folder: Path, only: str) -> Path:
    """Splits of which calibration has one class alone: whoever answers it is always right there."""
    for split, each in (("train", 4), ("calibration", 30), ("test", 30)):
        write_images(folder / split, each=each)
    for path in (folder / "calibration").iterdir():
        if path.name != only:
            shutil.rmtree(path)
    return folder


def test_a_calibrator_that_looks_worse_than_none_is_warned_of(
    model_folder: Path, tmp_path: Path
) -> None:
    """The model gives all images one class: one of the two splits makes it all but certain."""
    told = {}
    for only in ("dark", "bright"):
        data = lopsided(tmp_path / only, only)
        result, _ = evaluated(model_folder, data, tmp_path / f"{only} run", {})
        found = [each for each in result.report.warnings if "worse with it" in each.message]
        if found:
            told[only] = found
    [(only, [warning])] = told.items()
    assert (warning.code, warning.names) == ("calibrator_hurts", ("temperature",))
    assert "on test confidences are worse with it than without: ECE" in warning.message
    assert "none_if_worse" in warning.action

    asked = {"none_if_worse": True}
    result, listener = evaluated(model_folder, tmp_path / only, tmp_path / "none", asked)
    assert result.report.calibrator is not None
    assert result.report.calibrator.kind == "none"
    [row] = result.report.datasets
    assert row.calibrated is not None
    assert row.calibrated.ece == pytest.approx(row.raw.ece)
    assert "temperature" in {each.kind for each in row.calibrators}
    assert row.sets  # what rests on no calibrator is there all the same
    assert warnings(listener)["calibrator_hurts"].message.endswith("raw ones are served")


def test_no_calibrator_may_be_asked_for(model_folder: Path, images: Path, tmp_path: Path) -> None:
    asked = {"calibrator": "none", "also": ["temperature"]}
    spec = finetune(model_folder, images, method={"name": "zero_shot"}, calibration=asked)
    result, _ = run(spec, tmp_path / "run")
    assert result.checkpoint is not None
    kept = load_calibration(result.checkpoint)
    assert kept is not None
    assert (kept.calibrator.kind, kept.evidence is not None) == ("none", True)
    [row] = result.report.datasets
    assert row.calibrated is not None
    assert row.calibrated.nll == pytest.approx(row.raw.nll)
    assert [each.kind for each in row.calibrators] == ["temperature", "none"]
    logits = torch.randn(5, 2)
    torch.testing.assert_close(kept.calibrator.probabilities(logits), logits.double().softmax(1))


def test_classes_with_few_calibration_images_are_named(model_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split, each in (("train", 4), ("calibration", 8), ("test", 8)):
        write_images(data / split, each=each)
    for image in sorted((data / "calibration" / "dark").iterdir())[5:]:
        image.unlink()
    result, _ = evaluated(model_folder, data, tmp_path / "run", {"also": ["vector"]})
    [told] = [e for e in result.report.warnings if e.code == "calibration_lacks_classes"]
    assert told.names == ("dark",)
    assert told.message == "fewer than 6 calibration images of dark"
