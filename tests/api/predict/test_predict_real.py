"""Predictions of a real checkpoint: unpacked from the store, loaded by torch, calibrated."""

from __future__ import annotations

import gc
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.inference.cache import CheckpointCache, _stay
from api.inference.predictor import TorchPredictor
from carot.data.decoding.decoder_client import Pixels
from carot.data.decoding.depth import UNKNOWN, Depth
from carot.models.checkpoints import ClassifierCard, save_checkpoint
from carot.models.classifier import Classifier
from carot.models.clip import load_model
from carot.models.prompts import Captions, zero_shot_head
from carot.specs import ModelSpec
from store.artifacts.bundles import pack
from tests.api.helpers import context_of
from tests.api.rows import add_checkpoint
from tests.carot.data.written_depths import deep_png

CLASSES = ("zero", "one", "two")


def write_classifier(path: Path, scale: float, depth: Depth = UNKNOWN) -> Path:
    """The bundled model as a classifier of three digits, its logits `scale` times its cosines."""
    import torch

    model = load_model(ModelSpec(architecture="carot-mini"), torch.device("cpu"))
    templates = ("the digit {}",)
    head_CD = scale * zero_shot_head(model, Captions(model, CLASSES, templates))
    card = ClassifierCard(
        architecture="carot-mini",
        method="zero_shot",
        classes=CLASSES,
        caption_names=CLASSES,
        templates=templates,
        logit_scale=scale,
        head="text",
        depth=depth,
    )
    save_checkpoint(path, model, head_CD, card, None)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("checkpoint") / "checkpoint", 1.0)


def test_the_service_answers_as_the_library_does(client: TestClient, folder: Path) -> None:
    context = context_of(client)
    checkpoint = add_checkpoint(context, b"".join(pack(folder)), CLASSES)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in pixels]
    files = []
    for i, image in enumerate(images):
        file = io.BytesIO()
        image.save(file, "PNG")
        files.append(("images", (f"{i}.png", file.getvalue())))
    answer = client.post("/predict", files=files, data={"checkpoint": checkpoint})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["calibrated"] is False
    expected_NC = Classifier.load(folder, "cpu").logits(images).numpy()
    for prediction, expected_C in zip(body["predictions"], expected_NC, strict=True):
        logits = {guess["label"]: guess["logit"] for guess in prediction["top"]}
        assert list(logits.values()) == sorted(logits.values(), reverse=True)
        found = [logits[name] for name in CLASSES]
        assert np.allclose(found, expected_C, atol=1e-4)
        assert sum(g["confidence"] for g in prediction["top"]) == pytest.approx(1)
    unpacked = list((context.settings.data_dir / "cache").iterdir())
    assert len(unpacked) == 1
    assert not unpacked[0].name.startswith(".")


def test_twelve_bits_are_read_as_training_read_them(client: TestClient, tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "checkpoint", 1.0, Depth(integers=(0, 4095)))
    checkpoint = add_checkpoint(context_of(client), b"".join(pack(folder)), CLASSES)
    grey = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    content = deep_png((grey.astype(float) / 255 * 4095).round().astype(int))
    files = [("images", ("deep.png", content))]
    answer = client.post("/predict", files=files, data={"checkpoint": checkpoint})
    assert answer.status_code == 200, answer.text
    logits = {each["label"]: each["logit"] for each in answer.json()["predictions"][0]["top"]}
    expected = Classifier.load(folder, "cpu").logits([Image.fromarray(grey).convert("RGB")])[0]
    assert np.allclose([logits[name] for name in CLASSES], expected.numpy(), atol=1e-3)


def test_an_image_that_comes_fitted_is_scored_as_one_that_comes_whole(folder: Path) -> None:
    predictor = TorchPredictor(folder, "cpu")
    assert predictor.fit is not None
    noise = np.random.default_rng(0).integers(0, 255, (4, 50, 81, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in noise]
    fitted = [predictor.fit(image) for image in images]
    found = predictor.outputs([predictor.prepare(pixels_of(image)) for image in fitted])
    predictor.fit = None
    expected = predictor.outputs([predictor.prepare(pixels_of(image)) for image in images])
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert np.array_equal(one, other)


def pixels_of(image: Image.Image) -> Pixels:
    return Pixels(*image.size, image.tobytes())


@pytest.mark.slow
def test_the_garbage_collector_is_spared_what_was_imported(
    client: TestClient, folder: Path
) -> None:
    context = context_of(client)
    checkpoint = add_checkpoint(context, b"".join(pack(folder)), CLASSES)
    gc.unfreeze()
    _stay.cache_clear()
    CheckpointCache(context.settings, context.database, context.artifacts).load(checkpoint)
    assert gc.get_freeze_count() > 10_000


def test_damaged_bytes_are_not_served(client: TestClient, folder: Path) -> None:
    context = context_of(client)
    content = b"".join(pack(folder))
    checkpoint = add_checkpoint(context, content[: len(content) // 2], CLASSES)
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    answer = client.post(
        "/predict", files={"images": file.getvalue()}, data={"checkpoint": checkpoint}
    )
    assert answer.status_code == 500
    assert answer.json()["code"] == "artifact_corrupt"
    assert list((context.settings.data_dir / "cache").iterdir()) == []


def test_classes_of_a_requests_own(client: TestClient, folder: Path) -> None:
    context = context_of(client)
    checkpoint = add_checkpoint(context, b"".join(pack(folder)), CLASSES)
    pixels = np.random.default_rng(1).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    files = []
    for i, each in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(each).save(file, "PNG")
        files.append(("images", (f"{i}.png", file.getvalue())))

    client.put("/models/own", json={"checkpoint": checkpoint})

    def ask(**data: Any) -> dict[str, Any]:
        answer = client.post("/predict", files=files, data={"model": "own"} | data)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    own, same = ask(), ask(classes=list(CLASSES))
    # The head is of the text tower: the same names get the same logits, and carry no evidence.
    for before, after in zip(own["predictions"], same["predictions"], strict=True):
        expected = {guess["label"]: guess["logit"] for guess in before["top"]}
        for guess in after["top"]:
            assert guess["logit"] == pytest.approx(expected[guess["label"]], abs=1e-4)
    assert same["calibrated"] is False
    assert same["vocabulary"] == {
        "classes": 3, "templates": ["the digit {}"], "own_head": "text", "temperature": None
    }  # fmt: skip
    others = ask(classes=["seven", "eight"], templates=["a {}", "one {}"])
    assert others["vocabulary"]["templates"] == ["a {}", "one {}"]
    for each in others["predictions"]:
        assert {guess["label"] for guess in each["top"]} == {"seven", "eight"}
        assert sum(guess["confidence"] for guess in each["top"]) == pytest.approx(1)
        assert each["set"] is None
        assert each["missing"]["set"]["code"] == "uncalibrated_label_set"
        assert each["abstain"] is None
    # What is measured of a model is about its own classes.
    counted = r'carot_served_confidence_count\{model="own",project="\w+"\} 2\.0'
    assert re.search(counted, client.get("/metrics").text)
