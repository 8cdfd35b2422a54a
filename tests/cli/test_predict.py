"""`carot predict`: without a service the same answers as with one, and what people read of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from carot.errors import CalibrationError, SpecError
from cli.answers import COLUMNS, remarks, row
from cli.client import ServiceError
from cli.predict import BATCH, _in_batches, _local
from tests.api.conftest import client, migrated, start
from tests.api.helpers import picture
from tests.api.predict.test_predict_page import calibrated, digits
from tests.api.predict.test_predict_real import folder

__all__ = ["calibrated", "client", "digits", "folder", "migrated", "start"]


def near(found: Any, expected: Any) -> bool:
    """Equal but for rounding in float32."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(near(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(near, found, expected))
    if isinstance(expected, float):
        return bool(found == pytest.approx(expected, abs=1e-4))
    return bool(found == expected)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three, one of which is none."""
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        path.write_bytes(b"junk" if i == 1 else picture(i))
    return paths


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        {"top_k": 2, "coverage": 0.95, "max_risk": 0.1, "max_shift": 0.9, "set_method": "lac"},
        {"classes": ["a cat", "a dog"], "templates": ["{} here"]},
    ],
)
def test_a_folder_says_what_the_service_says(
    digits: TestClient, calibrated: Path, images: list[Path], asked: dict[str, Any]
) -> None:
    files = [("images", (str(path), path.read_bytes())) for path in images]
    answer = digits.post("/predict", files=files, data={"model": "digits"} | asked)
    assert answer.status_code == 200, answer.text
    served = answer.json()
    found = _local(images, calibrated, asked)
    for name in ("model", "request_id", "milliseconds"):
        assert name not in found
        del served[name]
    served["checkpoint"] = found["checkpoint"]
    for each in served["predictions"]:
        each["id"] = None  # there is nobody to remember it
    assert near(found, served), (found, served)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"coverage": 1.0}, "coverage"),
        ({"set_method": "voodoo"}, "set_method"),
        ({"set_method": "online"}, "set_method"),
        ({"coverage": 0.9999}, "coverage"),
        ({"max_risk": 1e-5}, "max_risk"),
        ({"templates": ["{}"]}, "templates"),
    ],
)
def test_a_folder_refuses_what_the_service_refuses(
    calibrated: Path, images: list[Path], asked: dict[str, Any], field: str
) -> None:
    with pytest.raises((SpecError, CalibrationError)) as refused:
        _local(images, calibrated, asked)
    assert refused.value.field == field


def test_a_table_for_people(calibrated: Path, images: list[Path]) -> None:
    answer = _local(images, calibrated, {"max_risk": 0.1})
    shown = dict(zip(COLUMNS, row(answer["predictions"][0]), strict=True))
    top = answer["predictions"][0]["top"]
    assert shown["class"].splitlines() == [guess["label"] for guess in top]
    assert shown[">confidence"].splitlines()[0] == f"{top[0]['confidence']:.1%}"
    assert shown["set"].startswith("{" + top[0]["label"])
    assert "calibration images with a raw confidence" in shown["calibration evidence"]
    assert shown["abstain"].startswith(("yes: ", "no"))
    lines = remarks(answer)
    assert "temperature" in lines[0]
    assert "90 % of the sets" in lines[1]
    assert "10 % of the answers" in lines[1]


def test_what_is_not_there_is_explained(folder: Path, images: list[Path]) -> None:
    answer = _local(images, folder, {})
    shown = dict(zip(COLUMNS, row(answer["predictions"][0]), strict=True))
    assert [shown[name] for name in ("set", "calibration evidence", ">shift")] == ["-", "-", "-"]
    assert shown["abstain"] == "unknown: no shift score"
    lines = remarks(answer)
    assert lines[0].endswith("not calibrated")
    assert [line.split(":")[0] for line in lines[1:]] == ["no evidence", "no set", "no shift"]


def test_a_batch_of_broken_images_costs_no_other_its_answers() -> None:
    paths = [Path(str(i)) for i in range(BATCH + 2)]

    def ask(batch: list[Path]) -> dict[str, Any]:
        if len(batch) < BATCH:
            errors = [{"field": f"images.{i}", "message": "junk"} for i in range(len(batch))]
            raise ServiceError("none", {"code": "invalid_data", "errors": errors})
        return {"checkpoint": "c", "predictions": [{"error": None} for _ in batch]}

    found = _in_batches(paths, ask)
    assert found["checkpoint"] == "c"
    broken = [each["error"] for each in found["predictions"] if each["error"]]
    assert [each["field"] for each in broken] == [f"images.{BATCH}", f"images.{BATCH + 1}"]
    with pytest.raises(ServiceError, match="none"):
        _in_batches(paths[:2], ask)
