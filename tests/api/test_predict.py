"""Predictions over HTTP: what is asked, what is answered, what is refused."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from api.inference.engine import Engine
from carot.answering import Answering
from carot.calibration.calibration import Calibration
from carot.calibration.grounds import fit_grounds
from carot.calibration.shift_score import fit_shift_score
from carot.calibration.temperature import fit_temperature
from carot.errors import CheckpointError
from tests.api.helpers import Start, context_of
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
        grounds=fit_grounds(logits_NC, torch.where(unsure_N, 1 - top_N, top_N), classes=CLASSES),
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

    @property
    def answering(self) -> Answering:
        return Answering(CLASSES, calibration())

    def prepare(self, image: Image.Image) -> Any:
        return float(np.asarray(image).mean()) / 255

    def outputs(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return seen(np.array(prepared, dtype=np.float32))


def png(level: int, size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, level).save(file, "PNG")
    return file.getvalue()


class Service:
    """An application whose checkpoint `digits` points at `Brightness`."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.context = context_of(client)
        self.context.engine.close()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.context.engine = Engine(self._load, capacity=8, wait_seconds=0.0)
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


def test_only_broken_images(service: Service) -> None:
    answer = service.form(b"junk")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "images.0"


def test_a_huge_image_is_not_decoded(service: Service) -> None:
    answer = service.form(png(0, (10_000, 5_000)))
    assert answer.status_code == 422
    assert "40 megapixels" in answer.json()["errors"][0]["message"]


OK = base64.b64encode(png(255)).decode()


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

    service.context.engine.close()
    service.context.engine = Engine(torn)
    answer = service.form(png(255))
    assert answer.status_code == 500
    assert answer.json()["code"] == "artifact_corrupt"


def test_predictions_are_counted(service: Service) -> None:
    service.context.engine.close()
    service.context.engine = Engine(service._load, on_batch=service.context.measures.batch)
    service.form(png(255), png(0))
    assert "carot_predictions_total 2.0" in service.client.get("/metrics").text
    assert json.dumps(service.client.get("/openapi.json").json())
