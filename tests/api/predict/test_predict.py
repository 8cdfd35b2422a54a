"""Predictions over HTTP: what is asked, what is answered, what is refused."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from api.inference.engine import Engine
from carot.answers.answering import Answering
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.shift_score import fit_shift_score
from carot.data.decoding.decoder_client import Pixels
from carot.data.decoding.depth import UNKNOWN
from carot.errors import CheckpointError
from store.tables import Checkpoint
from tests.api.helpers import Start, context_of, state_of
from tests.api.rows import add_checkpoint

CLASSES = ("dark", "bright")
SPLIT = 200


@cache
def calibration() -> Calibration:
    """Of images of every brightness, of which those in between are wrong every third time."""
    bright_N = torch.linspace(0, 1, SPLIT)
    logits_NC, features_ND = map(torch.from_numpy, seen(bright_N.numpy()))
    top_N = logits_NC.argmax(dim=1)
    unsure_N = ((bright_N - 0.5).abs() < 0.2) & (torch.arange(SPLIT) % 3 == 0)
    calibrator = fit_temperature(logits_NC, top_N, classes=CLASSES)
    return Calibration(
        calibrator.model_copy(update={"temperature": 2.0}),
        evidence=fit_calibration_evidence(
            logits_NC, torch.where(unsure_N, 1 - top_N, top_N), classes=CLASSES
        ),
        shift_score=fit_shift_score(features_ND),
    )


def seen(bright_N: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits and features of images this bright."""
    angle_N = bright_N * np.pi / 2
    features_ND = np.stack([np.cos(angle_N), np.sin(angle_N)], axis=1)
    return np.stack([1 - bright_N, bright_N], axis=1), features_ND.astype(np.float32)


class Brightness:
    """Two classes; logits are dark and bright, temperature 2."""

    classes = CLASSES
    fit = None
    depth = UNKNOWN
    memory_bytes = 100

    def warm_ups(self, batch: int) -> Sequence[Callable[[], None]]:
        return ()

    @property
    def answering(self) -> Answering:
        return Answering(CLASSES, calibration())

    def prepare(self, pixels: Pixels) -> Any:
        return float(np.asarray(pixels.image()).mean()) / 255

    def outputs(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return seen(np.array(prepared, dtype=np.float32))


def png(level: int, size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, level).save(file, "PNG")
    return file.getvalue()


OK = base64.b64encode(png(255)).decode()


class Service:
    """An application whose checkpoint `digits` points at `Brightness`."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.context = context_of(client)
        self.state = state_of(client)
        self.state.predictions.engine.close()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.passes: list[int] = []
        self.state.predictions.engine = Engine(
            self._load,
            capacity=8,
            wait_seconds=0.0,
            on_batch=lambda images, seconds: self.passes.append(images),
        )
        self.checkpoint = add_checkpoint(self.context, b"unused", ("dark", "bright"))
        client.put("/models/digits", json={"checkpoint": self.checkpoint})

    def _load(self, checkpoint_id: str) -> Brightness:
        assert checkpoint_id == self.checkpoint
        self.entered.set()
        assert self.gate.wait(10)
        return Brightness()

    def form(self, *images: bytes, **fields: str) -> Any:
        files = [("images", (f"{i}.png", image)) for i, image in enumerate(images)]
        return self.client.post("/predict", files=files, data={"model": "digits"} | fields)

    def json(self, **body: Any) -> Any:
        return self.client.post("/predict", json=body)


@pytest.fixture
def service(start: Start) -> Service:
    return Service(start(max_images=6, max_image_bytes=100_000))


def test_a_form_of_images(service: Service) -> None:
    answer = service.form(png(255), png(0))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["model"] == "digits"
    assert body["checkpoint"] == service.checkpoint
    assert body["temperature"] == 2.0
    assert body["calibrated"] is True
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["milliseconds"] >= 0
    bright, dark = body["predictions"]
    assert [guess["label"] for guess in bright["top"]] == ["bright", "dark"]
    top = bright["top"][0]
    assert top["index"] == 1
    assert top["logit"] == pytest.approx(1.0)
    assert top["raw_confidence"] == pytest.approx(1 / (1 + np.exp(-1)))
    assert top["confidence"] == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert dark["top"][0]["label"] == "dark"
    assert dark["name"] == "1.png"


def test_base64_in_json_by_checkpoint(service: Service) -> None:
    images = [base64.b64encode(png(255)).decode()]
    answer = service.json(images=images, checkpoint=service.checkpoint, top_k=1)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["model"] is None
    assert [g["label"] for g in body["predictions"][0]["top"]] == ["bright"]


def test_one_broken_image_does_not_spoil_the_others(service: Service) -> None:
    answer = service.form(png(255), b"junk", b"", png(0)[:40])
    assert answer.status_code == 200
    predictions = answer.json()["predictions"]
    assert [bool(p["error"]) for p in predictions] == [False, True, True, True]
    assert predictions[1]["error"]["field"] == "images.1"


def test_broken_text_and_large_images_do_not_spoil_the_others(service: Service) -> None:
    large = base64.b64encode(bytes(100_001)).decode()
    answer = service.json(images=["!!", OK, "ü", large, "AAAA", OK], model="digits")
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    assert [bool(p["top"]) for p in predictions] == [False, True, False, False, False, True]
    assert [p["error"] and p["error"]["field"] for p in predictions] == [
        "images.0", None, "images.2", "images.3", "images.4", None
    ]  # fmt: skip
    assert "base64" in predictions[0]["error"]["message"]
    assert "more than 100000 bytes" in predictions[3]["error"]["message"]
    for each in predictions:
        assert (each["abstain"] is None) is bool(each["error"])
    form = service.form(png(255), bytes(100_001))
    assert form.status_code == 200
    assert "more than 100000" in form.json()["predictions"][1]["error"]["message"]


def test_what_is_said_of_an_image(service: Service) -> None:
    asked = {"coverage": "0.95", "set_method": "aps", "max_risk": "0.2", "max_shift": "0.9"}
    body = service.form(png(60), png(128), **asked).json()
    sure, unsure = body["predictions"]
    assert sure["abstain"] is False
    assert [m["label"] for m in sure["set"]["labels"]] == ["dark"]
    assert sure["set"]["method"] == "aps"
    assert sure["set"]["coverage"] == 0.95
    assert (sure["evidence"]["right"], sure["evidence"]["count"]) == (50, 50)
    assert sure["evidence"]["text"].startswith("right on 50 of 50 calibration images")
    assert 0 <= sure["shift"]["percentile"] <= 1
    assert unsure["set"]["size"] == 2
    assert unsure["abstain"] is True
    assert unsure["abstain_reasons"] == ["low_confidence"]
    assert unsure["evidence"]["right"] < unsure["evidence"]["count"]
    limits = body["limits"]
    assert (limits["coverage"], limits["max_shift"]) == (0.95, 0.9)
    assert 0.5 < limits["risk"]["threshold"] < 0.7
    assert "exchangeable" in limits["guarantee"]
    calibrator = body["calibrator"]
    assert (calibrator["kind"], calibrator["id"]) == ("temperature", None)
    assert (calibrator["temperature"], calibrator["n"]) == (2.0, SPLIT)
    assert body["vocabulary"] is None


def test_a_form_and_json_are_answered_alike(service: Service) -> None:
    asked = {"top_k": 1, "coverage": 0.8, "max_risk": 0.3, "max_shift": 0.5, "domain": "porch"}
    form = service.form(png(30), png(99), **{k: str(v) for k, v in asked.items()}).json()
    images = [base64.b64encode(png(level)).decode() for level in (30, 99)]
    body = service.json(images=images, model="digits", **asked).json()
    for answer in (form, body):
        for name in ("request_id", "milliseconds"):
            del answer[name]
        for each in answer["predictions"]:
            del each["name"], each["id"]
    assert form == body


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"coverage": 0}, "coverage", "greater than 0"),
        ({"coverage": 1}, "coverage", "less than 1"),
        ({"coverage": 0.999}, "coverage", "999 calibration images, and there are 200"),
        ({"coverage": "often"}, "coverage", ""),
        ({"set_method": "voodoo"}, "set_method", "'saps', 'mondrian' or 'online'"),
        ({"max_risk": 0}, "max_risk", ""),
        ({"max_risk": 0.0001}, "max_risk", "no confidence threshold"),
        ({"max_shift": 1.5}, "max_shift", ""),
        ({"domain": "x" * 300}, "domain", ""),
        ({"classes": ["one"]}, "classes", "at least 2"),
        ({"classes": ["a", " a "]}, "classes", "same name twice"),
        ({"classes": ["a", " "]}, "classes.1", ""),
        ({"classes": ["a", "x" * 300]}, "classes.1", ""),
        ({"classes": [str(i) for i in range(1001)]}, "classes", "at most 1000"),
        ({"classes": ["a", "b"], "templates": ["no slot"]}, "templates.0", "one {} slot"),
        ({"templates": ["a {}"]}, "templates", "not given"),
        # Of this model: it has no text tower.
        ({"classes": ["a", "b"]}, "classes", "text tower"),
    ],
)
@pytest.mark.parametrize("loaded", [True, False])
def test_what_cannot_be_promised_is_refused(
    service: Service, asked: dict[str, Any], field: str, words: str, loaded: bool
) -> None:
    if loaded:
        assert service.form(png(255)).status_code == 200
    passes = len(service.passes)
    answer = service.json(images=[OK], model="digits", **asked)
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert error["field"] == field
    assert words in error["message"]
    assert len(service.passes) == passes  # the model was never asked


@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "-0.5"])
def test_numbers_in_forms_that_are_none(service: Service, value: str) -> None:
    for field in ("coverage", "max_risk", "max_shift"):
        answer = service.form(png(1), **{field: value})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field


def test_a_form_with_what_nobody_knows_is_refused(service: Service) -> None:
    answer = service.form(png(1), max_rsik="0.05")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "max_rsik"
    files = [("images", ("0.png", png(1))), ("model", ("m.txt", b"digits"))]
    answer = service.client.post("/predict", files=files)
    assert answer.json()["errors"][0]["field"] == "model"
    twice = service.client.post(
        "/predict", files=[("images", ("0.png", png(1)))], data={"model": ["digits", "other"]}
    )
    assert twice.status_code == 422
    assert twice.json()["errors"] == [{"field": "model", "message": "given twice"}]


def test_an_alias_whose_checkpoint_was_deleted(service: Service) -> None:
    # Deletion refuses what an alias points to; a restored database may hold it all the same.
    assert service.form(png(255)).status_code == 200
    with service.context.database.session() as session:
        session.get_one(Checkpoint, service.checkpoint).deleted_at = datetime.now(UTC)
    for answer in (service.form(png(255)), service.json(images=["!"], model="digits")):
        assert answer.status_code == 410
        assert answer.json()["code"] == "gone"
        assert service.checkpoint in answer.json()["detail"]


def test_only_broken_images(service: Service) -> None:
    answer = service.form(b"junk")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "images.0"


def test_a_huge_image_is_not_decoded(service: Service) -> None:
    answer = service.form(png(0, (10_000, 5_000)))
    assert answer.status_code == 422
    assert "40 megapixels" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"images": [OK], "model": "nobody"}, 404, None),
        ({"images": [OK], "model": "a\0b"}, 404, None),
        ({"images": [OK], "checkpoint": "ckpt_" + "0" * 26}, 404, None),
        ({"images": [OK]}, 422, "model"),
        ({"images": [OK], "model": "digits", "checkpoint": "x"}, 422, "model"),
        ({"images": [], "model": "digits"}, 422, "images"),
        ({"images": [OK] * 7, "model": "digits"}, 422, "images"),
        ({"images": ["!!"], "model": "digits"}, 422, "images.0"),
        ({"images": ["ü"], "model": "digits"}, 422, "images.0"),
        (
            {"images": [base64.b64encode(bytes(200_000)).decode()], "model": "digits"},
            422,
            "images.0",
        ),
        ({"images": [OK], "model": "digits", "top_k": 0}, 422, "top_k"),
        ({"images": [OK], "model": "digits", "url": "http://x"}, 422, "url"),
        ({"images": "x", "model": "digits"}, 422, "images"),
        ([], 422, "body"),
    ],
)
def test_what_is_refused(service: Service, body: Any, status: int, field: str | None) -> None:
    answer = service.client.post("/predict", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if field is not None:
        assert answer.json()["errors"][0]["field"] == field


def test_bodies_that_are_something_else(service: Service) -> None:
    def post(content: bytes, kind: str) -> int:
        headers = {"Content-Type": kind}
        status: int = service.client.post("/predict", content=content, headers=headers).status_code
        return status

    assert post(b"{", "application/json") == 400
    assert post(b"[" * 100_000, "application/json") == 400
    assert post(b"x", "image/png") == 415
    assert post(b"x", "multipart/form-data") == 400
    assert post(b"x", "multipart/form-data; boundary=y") in (400, 422)


def test_too_many_files(service: Service) -> None:
    assert service.form(*[png(0)] * 7).status_code in (400, 422)


def test_the_loop_answers_while_a_checkpoint_is_loaded(service: Service) -> None:
    service.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        predicting = pool.submit(service.form, png(255))
        assert service.entered.wait(10)
        assert service.client.get("/health/live").status_code == 200
        assert not predicting.done()
        service.gate.set()
        assert predicting.result(10).status_code == 200


def test_a_full_queue_says_when_to_come_back(service: Service) -> None:
    service.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        predicting = pool.submit(service.form, *[png(255)] * 6)
        assert service.entered.wait(10)
        answer = service.form(*[png(255)] * 3)
        assert answer.status_code == 503
        assert answer.json()["code"] == "busy"
        assert answer.headers["retry-after"] == "1"
        service.gate.set()
        assert predicting.result(10).status_code == 200


def test_a_checkpoint_that_is_torn(service: Service) -> None:
    def torn(_: str) -> Brightness:
        raise CheckpointError("head.safetensors is missing")

    service.state.predictions.engine.close()
    service.state.predictions.engine = Engine(torn)
    answer = service.form(png(255))
    assert answer.status_code == 500
    assert answer.json()["code"] == "artifact_corrupt"


def test_predictions_are_counted(service: Service) -> None:
    service.state.predictions.engine.close()
    service.state.predictions.engine = Engine(
        service._load, on_batch=service.state.predictions.measures.batch
    )
    service.form(png(255), png(0))
    assert "carot_predictions_total 2.0" in service.client.get("/metrics").text
    assert json.dumps(service.client.get("/openapi.json").json())
