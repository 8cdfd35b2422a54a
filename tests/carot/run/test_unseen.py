"""Runs that hold classes out: what they train on, report, store and answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from carot.answers.answering import Answering
from carot.answers.schemas import Answer
from carot.data.digits import handwritten_digits
from carot.errors import CarotError, DataError, SpecError
from carot.models.checkpoints import UNSEEN_SCORE_NAME, load_calibration
from carot.models.classifier import Classifier
from carot.run import RunResult
from carot.specs import EvaluateSpec, FinetuneSpec
from tests.carot.run.listener import finetune, run
from tests.carot.tiny import write_images

pytestmark = pytest.mark.slow
HELD_OUT = ("eight", "nine")
OWN = {"name": "test", "dataset": "builtin:digits", "in_distribution": True}
NOISY = {"name": "noisy", "dataset": "builtin:digits", "shift": "noise", "unseen": True}


def digits(**changes: Any) -> FinetuneSpec:
    document: dict[str, Any] = {
        "model": {"architecture": "carot-mini"},
        "dataset": "builtin:digits",
        "preset": "carot",
        "unseen": HELD_OUT,
        "training": {"epochs": 2, "batch_size": 128, "learning_rate": 5e-4},
        "evaluation": {"datasets": [OWN, NOISY]},
        "measure_start": False,
    }
    return FinetuneSpec.model_validate(document | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(digits(), tmp_path_factory.mktemp("digits") / "run")[0]


def of_classes(split: str, names: tuple[str, ...]) -> int:
    source = handwritten_digits(split)
    return sum(source.classes[c] in names for c in source.labels.tolist())


def test_the_classifier_never_sees_them(finished: RunResult) -> None:
    report = finished.report
    assert report.classes == handwritten_digits("test").classes[:8]
    [row] = report.datasets
    test = len(handwritten_digits("test"))
    assert (row.classes, row.images) == (8, test - of_classes("test", HELD_OUT))
    assert report.calibration is not None
    kept = len(handwritten_digits("calibration")) - of_classes("calibration", HELD_OUT)
    assert report.calibration.images == kept


def test_the_report_tells_how_well_they_are_told_apart(finished: RunResult) -> None:
    found = finished.report.unseen
    assert found is not None
    assert [row.name for row in found.rows] == ["unseen", "noisy"]
    unseen = of_classes("test", HELD_OUT)
    for row in found.rows:
        assert row.classes == HELD_OUT
        assert row.images == (unseen + 1) // 2
        assert row.known_images == (finished.report.datasets[0].images + 1) // 2
        assert [each.score for each in row.scores] == ["confidence", "shift", "combined"]
        for each in row.scores:
            if each.auroc_interval is None:  # all pairs are in one order
                assert each.auroc == 1
            else:
                assert each.auroc_interval[0] < each.auroc < each.auroc_interval[1]
            assert each.fpr95_interval[0] <= each.fpr95 <= each.fpr95_interval[1]
    # Two classes that it never saw are told from eight that it was trained on.
    assert max(each.auroc for each in found.rows[0].scores) > 0.9
    assert (found.rows[0].shift, found.rows[1].shift) == (None, "noise")
    areas = {each.score: each.auroc for each in found.choice}
    assert found.chosen == max(areas, key=lambda score: areas[score])


def test_the_checkpoint_abstains_as_the_report_says(finished: RunResult) -> None:
    assert finished.checkpoint is not None
    classifier = Classifier.load(finished.checkpoint)
    found = finished.report.unseen
    assert found is not None
    assert classifier.calibration is not None
    assert classifier.calibration.unseen_score is not None
    assert classifier.calibration.unseen_score.chosen == found.chosen
    source = handwritten_digits("test")
    pixels = torch.stack([classifier.model.transform(source.image(i)) for i in range(len(source))])
    with torch.no_grad():
        features_ND = classifier.model.encode_images(pixels).cpu()
    logits_NC = features_ND @ classifier.head_CD.cpu().t()
    scored = list(zip(logits_NC.numpy(), features_ND.numpy(), strict=True))
    answers = Answering.of(classifier).answers(scored)
    for held_out, share in (
        (True, found.rows[0].abstained),
        (False, found.rows[0].known_abstained),
    ):
        taken = [
            "unseen" in answer.abstain_reasons
            for answer, label in zip(answers, source.labels.tolist(), strict=True)
            if isinstance(answer, Answer) and (source.classes[label] in HELD_OUT) == held_out
        ]
        assert share is not None
        # The report's share is of half of these images.
        assert sum(taken) / len(taken) == pytest.approx(share, abs=0.1)


def test_an_evaluation_measures_them_by_the_score_that_the_checkpoint_chose(
    finished: RunResult, tmp_path: Path
) -> None:
    document = {
        "model": {"folder": str(finished.checkpoint)},
        "dataset": "builtin:digits",
        "unseen": HELD_OUT,
        "evaluation": {"datasets": [OWN]},
    }
    result, _ = run(EvaluateSpec.model_validate(document), tmp_path / "run")
    before, after = finished.report.unseen, result.report.unseen
    assert before is not None
    assert after is not None
    assert (after.chosen, after.choice) == (before.chosen, ())
    assert after.rows[0] == before.rows[0]


def test_a_run_without_unseen_classes_stores_nothing(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    result, _ = run(finetune(model_folder, images), tmp_path / "run")
    assert result.report.unseen is None
    assert result.checkpoint is not None
    assert not (result.checkpoint / UNSEEN_SCORE_NAME).exists()
    calibration = load_calibration(result.checkpoint)
    assert calibration is not None
    assert calibration.unseen_score is None


def other_things(folder: Path, classes: tuple[str, ...]) -> dict[str, Any]:
    write_images(folder / "test", classes, each=6)
    return {"name": "other", "dataset": f"folder:{folder}", "unseen": True}


def rows(images: Path, *others: dict[str, Any]) -> dict[str, Any]:
    own = {"name": "test", "dataset": f"folder:{images}", "in_distribution": True}
    return {"datasets": [own, *others]}


def test_a_data_set_of_other_things(model_folder: Path, images: Path, tmp_path: Path) -> None:
    own = tuple(sorted(each.name for each in (images / "test").iterdir()))
    other = other_things(tmp_path / "other", ("whale", own[0]))
    spec = finetune(model_folder, images, evaluation=rows(images, other))
    result, _ = run(spec, tmp_path / "run")
    assert [row.name for row in result.report.datasets] == ["test"]
    assert result.report.unseen is not None
    [row] = result.report.unseen.rows
    # Images of a class that the classifier knows are no things of other classes.
    assert (row.name, row.classes, row.images) == ("other", ("whale",), 3)


def test_with_too_few_calibration_images_confidence_alone_is_reported(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    shutil.rmtree(images / "calibration")
    write_images(images / "calibration", each=1)  # too few for a shift score
    other = other_things(tmp_path / "other", ("whale", "zebra"))
    spec = finetune(model_folder, images, evaluation=rows(images, other))
    result, _ = run(spec, tmp_path / "run")
    found = result.report.unseen
    assert found is not None
    assert [each.score for each in found.rows[0].scores] == ["confidence"]
    assert (found.chosen, found.rows[0].abstained) == (None, None)


def test_what_cannot_be_held_out(model_folder: Path, images: Path, tmp_path: Path) -> None:
    for split in ("train", "validation", "calibration", "test"):
        write_images(images / split, ("extra",), each=8)
    own = tuple(sorted(each.name for each in (images / "test").iterdir()))

    def refused(kind: type[CarotError], **changes: Any) -> CarotError:
        with pytest.raises(kind) as caught:
            run(finetune(model_folder, images, **changes), tmp_path / "run")
        return caught.value

    error = refused(SpecError, unseen=["yak"])
    assert (error.field, "yak" in error.message) == ("unseen", True)
    assert refused(SpecError, unseen=list(own)).field == "unseen"
    assert refused(SpecError, unseen=list(own[1:])).field == "unseen"
    evaluation = rows(images, other_things(tmp_path / "other", own[:2]))
    error = refused(DataError, evaluation=evaluation)
    assert error.field == "evaluation.datasets[other]"
    shutil.rmtree(images / "test" / "extra")
    error = refused(DataError, unseen=["extra"])
    assert (error.field, "no test image of extra" in error.message) == ("unseen", True)
