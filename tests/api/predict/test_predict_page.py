"""docs/predict.md: its examples run, and its tables and numbers are those of the code."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from fastapi.testclient import TestClient

from api.predict.schemas import (
    LEAST_LABELS,
    MOST_CLASSES,
    MOST_TEMPLATES,
    Prediction,
    PredictRequest,
)
from api.settings import ApiSettings
from carot.answers.schemas import (
    COVERAGE,
    MAX_SHIFT,
    SET_METHOD,
    AbstainReason,
    MissingCode,
    SetMethod,
)
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.conformal import images_needed
from carot.calibration.sets.shift_score import fit_shift_score
from carot.models.checkpoints import load_card, load_head, save_checkpoint
from carot.models.classifier import Classifier
from carot.models.vocabulary import MOST_CAPTIONS
from store.artifacts.bundles import pack
from store.models.coverage import COVERAGES
from tests.api.helpers import context_of, picture
from tests.api.predict.test_predict_real import CLASSES, folder
from tests.api.rows import add_checkpoint
from tests.paths import DOCS

__all__ = ["folder"]
PAGE = (DOCS / "predict.md").read_text(encoding="utf-8")
IMAGES = 300


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def calibrated(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with a calibration split that it is mostly right on."""
    card, classifier = load_card(folder), Classifier.load(folder, "cpu")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(IMAGES, 3, *classifier.model.image_size, generator=generator)
    logits_NC, features_ND = classifier.outputs_of(pixels)
    labels_N = logits_NC.argmax(dim=1)
    wrong_N = logits_NC.amax(dim=1).argsort()[:9]
    labels_N[wrong_N] = (labels_N[wrong_N] + 1) % len(CLASSES)
    known = Calibration(
        fit_temperature(logits_NC, labels_N, classes=CLASSES),
        evidence=fit_calibration_evidence(logits_NC, labels_N, classes=CLASSES),
        shift_score=fit_shift_score(features_ND),
    )
    path = tmp_path_factory.mktemp("calibrated") / "checkpoint"
    save_checkpoint(path, classifier.model, load_head(folder, card), card, known)
    return path


@pytest.fixture
def digits(client: TestClient, calibrated: Path) -> TestClient:
    """A service whose alias `digits` it is."""
    checkpoint = add_checkpoint(context_of(client), b"".join(pack(calibrated)), CLASSES)
    client.put("/models/digits", json={"checkpoint": checkpoint}).raise_for_status()
    return client


def test_the_bodies_are_answered(digits: TestClient) -> None:
    bodies = examples("json")
    assert len(bodies) == 2
    for text in bodies:
        answer = digits.post("/predict", json=json.loads(text))
        assert answer.status_code == 200, answer.text
        (prediction,) = answer.json()["predictions"]
        assert prediction["error"] is None
        assert (prediction["set"] is None) is ("classes" in text)


def test_the_program_runs(digits: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    def post(path: str, body: dict[str, Any]) -> Any:
        # One that is none beside it, and one that is far from the calibration images.
        broken = base64.b64encode(b"junk").decode()
        answer = digits.post(path, json=body | {"images": [*body["images"], broken]})
        assert answer.status_code == 200, answer.text
        return answer.json()

    (program,) = examples("python")
    exec(compile(program, "predict.md", "exec"), {"post": post, "image": picture(0)})
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("images.")]
    assert len(lines) == 2
    assert lines[0] == "images.0 is for a person: shifted"
    assert lines[1].startswith("images.1 not one of JPEG")


def test_the_tables_have_every_field() -> None:
    rows = " ".join(re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE))
    told = set(re.findall(r"`(\w+)`", rows))
    assert told >= set(PredictRequest.model_fields)
    assert told >= set(Prediction.model_fields) - {"name", "abstain_reasons", "id"}


def test_every_word_of_an_answer_is_told() -> None:
    words = {*get_args(AbstainReason), *get_args(MissingCode), *get_args(SetMethod)}
    assert [word for word in words if f"`{word}`" not in PAGE] == []


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"up to {ApiSettings.model_fields['max_images'].default} images" in PAGE
    assert f"| {COVERAGE}, where" in PAGE
    assert f"| `max_shift` | {MAX_SHIFT} |" in PAGE
    assert f"| `set_method` | `{SET_METHOD}` |" in PAGE
    assert f"2 to {MOST_CLASSES} names" in PAGE
    assert f"up to {MOST_TEMPLATES} templates, and {MOST_CAPTIONS} captions" in PAGE
    assert f"0.99 takes {images_needed(0.99)}" in PAGE
    assert f"fewer than {LEAST_LABELS} labels" in PAGE
    assert f"{COVERAGES[0]} (the default) or {COVERAGES[1]}" in PAGE
