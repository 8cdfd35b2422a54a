"""Models that answer, and what people made of their answers: digits by the nearest class mean."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FilePayload

from api.context import Context
from api.inference.engine import Engine
from api.models.targets import ModelTarget
from api.monitoring.live_calibration import LiveFigures
from api.predict.prediction_log import Said
from carot.answers.answering import Answering
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.shift_score import fit_shift_score
from carot.data.decoding.decoder_client import Pixels
from carot.data.decoding.depth import UNKNOWN
from carot.data.digits import handwritten_digits
from store.models.aliases import set_alias
from store.tables import DEFAULT_PROJECT, Checkpoint, Report
from tests.acceptance.dashboard.fill import finish, new_job, start
from tests.acceptance.dashboard.site import Site
from tests.api.rows import add_worker

SIDE = 8
SCALE = 40.0
"""Raw confidences of the class means come out too high with it, as those of networks do."""

HARD = 482
"""A test image of which the class means are not sure."""

Floats = NDArray[np.float32]


@cache
def means() -> Floats:
    """Mean feature of each class (C, D), over the training split."""
    source = handwritten_digits("train")
    features_ND = np.stack([feature(source.image(i)) for i in range(len(source))])
    classes = range(len(source.classes))
    return np.stack([features_ND[source.labels == c].mean(axis=0) for c in classes])


def feature(image: Image.Image) -> Floats:
    """Unit feature (D) of an image."""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    grey_D = np.asarray(small, dtype=np.float32).ravel() / 255 + 1e-3
    unit_D: Floats = (grey_D / np.linalg.norm(grey_D)).astype(np.float32)
    return unit_D


def logits_of(features_ND: Floats) -> Floats:
    """Logits (N, C)."""
    distance_NC = ((features_ND[:, None] - means()[None]) ** 2).sum(axis=2)
    found: Floats = (-SCALE * distance_NC).astype(np.float32)
    return found


@cache
def calibration() -> Calibration:
    """Of the calibration split."""
    source = handwritten_digits("calibration")
    features_ND = np.stack([feature(source.image(i)) for i in range(len(source))])
    logits_NC, labels_N = torch.from_numpy(logits_of(features_ND)), torch.from_numpy(source.labels)
    fitted = fit_temperature(logits_NC, labels_N, classes=source.classes)
    return Calibration(
        fitted,
        evidence=fit_calibration_evidence(logits_NC, labels_N, classes=source.classes),
        shift_score=fit_shift_score(torch.from_numpy(features_ND)),
    )


class ClassMeans:
    """Answers as a loaded checkpoint does."""

    classes = handwritten_digits("test").classes
    fit = None
    depth = UNKNOWN
    memory_bytes = 100

    def warm_ups(self, batch: int) -> Sequence[Callable[[], None]]:
        return ()

    @property
    def answering(self) -> Answering:
        return Answering(self.classes, calibration())

    def prepare(self, pixels: Pixels) -> Any:
        return feature(pixels.image())

    def outputs(self, prepared: Sequence[Any]) -> tuple[Floats, Floats]:
        features_ND = np.stack(prepared)
        return logits_of(features_ND), features_ND


def serve(site: Site) -> None:
    """Let the site answer with class means, whatever the checkpoint is."""
    predictions, monitoring = site.state.predictions, site.state.monitoring
    predictions.engine.close()
    predictions.engine = Engine(lambda _: ClassMeans(), capacity=64, wait_seconds=0.0)
    evidence = calibration().evidence
    assert evidence is not None
    site.state.models.calibrators.evidence = lambda _: evidence.evidence
    monitoring.live = LiveFigures(site.context.database, seconds=0.0)


def new_checkpoint(site: Site, name: str, accuracy: float = 0.934) -> str:
    """A checkpoint of a job that ended, with a report; its id."""
    held = start(site.database, new_job(site.database, name))
    checkpoint, report = finish(site.database, held, accuracy)
    curve = [
        {
            "lower": low / 5,
            "upper": (low + 1) / 5,
            "count": 20 * 3**low,
            "confidence": low / 5 + 0.12,
            "accuracy": low / 5 + 0.13,
            "accuracy_interval": [low / 5 + 0.06, low / 5 + 0.19],
        }
        for low in range(5)
    ]
    figures = {"images": 542, "accuracy": accuracy, "ece": 0.0121, "mean_confidence": 0.93}
    row = {
        "name": "test",
        "in_distribution": True,
        "raw": figures | {"ece": 0.0312},
        "calibrated": figures,
        "reliability_raw": curve,
        "reliability_calibrated": curve,
    }
    with site.database.session() as session:
        made = session.get_one(Checkpoint, checkpoint)
        made.classes = list(ClassMeans.classes)
        made.calibrator = calibration().calibrator.to_json()
        made.name = name
        stored = session.get_one(Report, report)
        stored.document = {**stored.document, "datasets": [row]}
    return checkpoint


def name_model(site: Site, alias: str, checkpoint: str) -> None:
    """Point a name at a checkpoint."""
    with site.database.session() as session:
        set_alias(session, DEFAULT_PROJECT, alias, checkpoint)


def answers(site: Site, alias: str, checkpoint: str, count: int) -> list[tuple[str, int, int]]:
    """Predictions of test images, as if they had been asked for: id, answer and truth."""
    source = handwritten_digits("test")
    features_ND = np.stack([feature(source.image(i)) for i in range(len(source))])
    logits_NC = logits_of(features_ND)
    fitted = calibration().calibrator
    assert fitted is not None
    raw_NC = torch.from_numpy(logits_NC).softmax(dim=1)
    served_NC = fitted.log_probabilities(torch.from_numpy(logits_NC)).exp()
    score = calibration().shift_score
    assert score is not None
    shift_N = score.percentiles(torch.from_numpy(features_ND))
    target = ModelTarget(DEFAULT_PROJECT, alias, checkpoint, None, 1.0, False)
    rows = [i % len(source) for i in range(count)]
    tops = raw_NC.argmax(dim=1).tolist()
    said = [
        Said(
            tops[i],
            float(served_NC[i].max()),
            float(raw_NC[i].max()),
            float(shift_N[i]),
            logits_NC[i],
        )
        for i in rows
    ]
    ids = site.state.predictions.log.record(target, said)
    assert site.state.predictions.log.flush()
    return [(str(id), tops[i], int(source.labels[i])) for id, i in zip(ids, rows, strict=True)]


def label(site: Site, given: Sequence[tuple[str, int]]) -> None:
    """Give predictions their labels, through the API."""
    items = [{"id": id, "label": truth} for id, truth in given]
    answer = httpx.post(f"{site.url}/labels", json=items, timeout=60)
    assert answer.json()["refused"] == 0, answer.text


def models(site: Site) -> dict[str, str]:
    """One model that is fine, one with an alert, one that nobody has asked; checkpoints by name."""
    serve(site)
    old = new_checkpoint(site, "digits, first try", 0.902)
    made = new_checkpoint(site, "digits, CaRot, batch 128")
    for checkpoint in (old, made):
        name_model(site, "digits-production", checkpoint)
    name_model(site, "digits-night", old)
    name_model(site, "digits-new", made)
    good = answers(site, "digits-production", made, 400)
    label(site, [(id, truth) for id, _, truth in good[:300]])
    bad = answers(site, "digits-night", old, 240)
    wrong = [(id, (top + 1) % 10 if i % 3 else truth) for i, (id, top, truth) in enumerate(bad)]
    label(site, wrong)
    return {"old": old, "made": made}


def digit(index: int = 0) -> tuple[bytes, str]:
    """A test image as PNG, and its class."""
    source = handwritten_digits("test")
    file = io.BytesIO()
    source.image(index).save(file, "PNG")
    return file.getvalue(), source.classes[int(source.labels[index])]


def payload(index: int = HARD) -> FilePayload:
    """A test image as a file that somebody chose."""
    return {"name": "digit.png", "mimeType": "image/png", "buffer": digit(index)[0]}


def own_digits(site: Site) -> str:
    """The digits as a data set of the project; its id."""
    answer = httpx.post(f"{site.url}/datasets", json={"source": "builtin:digits"}, timeout=60)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def workers(site: Site, third: str = "gpu-box-3:77") -> None:
    """Two workers, one of which holds a job, and a third one that left."""
    context: Context = site.context
    add_worker(context, "gpu-box-1:4121")
    add_worker(context, "gpu-box-2:991")
    gone = add_worker(context, third)
    gone.leave(context.database)
    start(site.database, new_job(site.database, "digits, seed 9"), "gpu-box-1:4121")
