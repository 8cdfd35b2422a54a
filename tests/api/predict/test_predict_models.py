"""Predictions of models that are slow to read class names, or make no numbers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from api.inference.engine import Engine
from api.predict.routes import MOST_VOCABULARIES
from carot.answers.answering import Answering
from carot.models.vocabulary import Vocabularies, Vocabulary
from tests.api.predict.test_predict import (
    CLASSES,
    OK,
    Brightness,
    Service,
    calibration,
    png,
    service,
)

__all__ = ["service"]


class Slow(Vocabularies):
    """A text tower that takes its time, and makes class weights of the length of names."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def check(self, names: Sequence[str], templates: Sequence[str] | None = None) -> None:
        pass

    def of(self, names: Sequence[str], templates: Sequence[str] | None = None) -> Vocabulary:
        self._service.entered.set()
        assert self._service.gate.wait(20)
        head_KD = torch.tensor([[len(name), 0.0] for name in names])
        return Vocabulary(tuple(names), tuple(templates or ()), head_KD, 1.0, "text")


class Reading(Brightness):
    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def answering(self) -> Answering:
        return Answering(CLASSES, calibration(), Slow(self._service))


def test_promises_are_not_for_classes_of_a_requests_own(service: Service) -> None:
    service.state.predictions.engine.close()
    service.state.predictions.engine = Engine(
        lambda _: Reading(service), on_batch=lambda images, seconds: service.passes.append(images)
    )
    for field in ("coverage", "max_risk"):
        answer = service.json(images=[OK], model="digits", classes=["a", "b"], **{field: 0.5})
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["field"] == field
        assert "request's own" in error["message"]
    assert not service.entered.is_set()  # neither tower was asked
    assert service.passes == []


def test_who_reads_class_names_holds_up_nobody_else(service: Service) -> None:
    service.state.predictions.engine.close()
    service.state.predictions.engine = Engine(lambda _: Reading(service))
    service.gate.clear()
    names = {"classes": ["a", "bbb"], "templates": ["{}"]}
    with ThreadPoolExecutor(1 + MOST_VOCABULARIES) as pool:
        asked = [
            pool.submit(service.json, images=[OK], model="digits", **names)
            for _ in range(1 + MOST_VOCABULARIES)
        ]
        assert service.entered.wait(20)
        while service.state.predictions.texts.statistics().tasks_waiting < MOST_VOCABULARIES:
            time.sleep(0.005)
        busy = service.json(images=[OK], model="digits", **names)
        assert (busy.status_code, busy.json()["code"]) == (503, "busy")
        assert busy.headers["retry-after"] == "1"
        assert service.form(png(255)).status_code == 200
        assert service.client.get("/health/live").status_code == 200
        assert not any(each.done() for each in asked)
        service.gate.set()
        answers = [each.result(20) for each in asked]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"][0]["set"] is None
        assert answer.json()["vocabulary"]["classes"] == 2


class Unstable(Brightness):
    """Makes no numbers of black images."""

    def outputs(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits_NC, features_ND = super().outputs(prepared)
        logits_NC[np.array(prepared) == 0] = np.nan
        return logits_NC, features_ND


def test_a_model_that_makes_no_numbers_is_no_confidence(service: Service) -> None:
    service.state.predictions.engine.close()
    service.state.predictions.engine = Engine(lambda _: Unstable())
    answer = service.form(png(0), png(255))
    assert answer.status_code == 200
    first, second = answer.json()["predictions"]
    assert first["top"] == []
    assert first["error"]["field"] == "images.0"
    assert "not finite" in first["error"]["message"]
    assert second["top"][0]["label"] == "bright"
    none = service.form(png(0), b"junk")
    assert none.status_code == 500
    assert "not finite" in none.json()["detail"]
    assert [e["field"] for e in none.json()["errors"]] == ["images.0", "images.1"]
    metrics = service.client.get("/metrics").text
    assert 'carot_prediction_images_refused_total{reason="not_finite"} 2.0' in metrics
    assert 'carot_prediction_images_refused_total{reason="unreadable"} 1.0' in metrics
