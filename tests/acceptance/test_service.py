"""The whole service as it is deployed: Postgres, Redis, API and worker processes, REST."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.client import Client, Document, ServiceError
from store.artifacts import ArtifactStore, open_store
from store.database import Database
from store.settings import Settings
from tests.acceptance.harness import (
    CLASSES,
    EACH,
    Deployment,
    Process,
    digit_png,
    digits_folder,
    training,
    write_digits,
)
from tests.acceptance.stored import store_dataset, store_tiny
from tests.environment import plain_environment

pytestmark = [pytest.mark.acceptance, pytest.mark.services, pytest.mark.timeout(300)]
TINY_STEPS = 300


@pytest.fixture(scope="module")
def dataset(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Three digits, uploaded as a zip."""
    archive = write_digits(tmp_path_factory.mktemp("upload") / "digits.zip")
    return deployment.client.upload(archive, "three digits")


@pytest.fixture(scope="module")
def stream() -> list[Document]:
    """What the stream of the finished job said."""
    return []


@pytest.fixture(scope="module")
def job(deployment: Deployment, dataset: Document, stream: list[Document]) -> Document:
    """A short run of CaRot on them, watched until its end."""
    submitted = deployment.client.post("/jobs", training(dataset["id"]) | {"alias": "digits"})
    stream += deployment.client.watch(submitted["id"])
    ended: Document = deployment.client.get(f"/jobs/{submitted['id']}")
    assert ended["state"] == "succeeded", f"{ended['error']}\n{deployment.logs()}"
    return ended


@pytest.fixture(scope="module")
def checkpoint(deployment: Deployment, job: Document, tmp_path_factory: Any) -> Path:
    """Its checkpoint, downloaded in two pieces and unpacked."""
    client, path = deployment.client, f"/checkpoints/{job['checkpoint_id']}"
    described = client.get(path)
    half = described["bytes"] // 2
    content = b""
    for wanted in (f"bytes=0-{half - 1}", f"bytes={half}-"):
        piece = httpx.get(f"{client.url}{path}/download", headers={"Range": wanted}, timeout=60)
        assert piece.status_code == 206
        content += piece.content
    assert len(content) == described["bytes"]
    assert hashlib.sha256(content).hexdigest() == described["sha256"]
    folder: Path = tmp_path_factory.mktemp("checkpoint")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            assert Path(member.name).name == member.name
            (folder / member.name).write_bytes(file.read())
    return folder


def test_upload_is_described(dataset: Document) -> None:
    assert sorted(dataset["classes"]) == sorted(CLASSES)
    assert dataset["images"] == len(CLASSES) * sum(EACH.values())
    assert dataset["splits"] == {s: dict.fromkeys(CLASSES, n) for s, n in EACH.items()}


def test_stream_tells_the_run_in_order(job: Document, stream: list[Document]) -> None:
    numbers = [int(each["id"]) for each in stream if each["id"]]
    assert numbers == list(range(1, len(numbers) + 1))
    states = [each["data"]["data"]["state"] for each in stream if each["event"] == "state"]
    assert states[0] == "queued"
    assert states[-1] == "succeeded"
    phases = [each["data"]["message"] for each in stream if each["event"] == "phase_started"]
    assert "training" in phases
    assert any(each["event"] == "progress" for each in stream)
    assert job["attempts"] == 1


def test_pages_of_events_equal_the_stream(
    deployment: Deployment, job: Document, stream: list[Document]
) -> None:
    pages = deployment.client.get(f"/jobs/{job['id']}/events", limit=1000)["data"]
    assert pages == [each["data"] for each in stream if each["id"]]


def test_metrics_hold_every_step(deployment: Deployment, job: Document) -> None:
    curves = deployment.client.get(f"/jobs/{job['id']}/metrics")["data"]
    loss = next(curve for curve in curves if curve["name"] == "loss")
    assert loss["steps"] == list(range(1, 9))


def test_report_has_raw_and_calibrated_figures(
    deployment: Deployment, job: Document, dataset: Document
) -> None:
    report = deployment.client.get(f"/reports/{job['report_id']}")["document"]
    assert report["method"] == "carot"
    assert report["dataset"] == dataset["id"]
    row = next(each for each in report["datasets"] if each["in_distribution"])
    assert row["images"] == len(CLASSES) * EACH["test"]
    for figures in (row["raw"], row["calibrated"]):
        assert 0 <= figures["ece"] <= 1
        assert 0 <= figures["accuracy"] <= 1
    assert row["raw"]["accuracy"] == row["calibrated"]["accuracy"]


def test_checkpoint_gives_the_served_logits_in_plain_open_clip(
    deployment: Deployment, job: Document, checkpoint: Path
) -> None:
    import open_clip
    import torch
    from PIL import Image

    described = deployment.client.get(f"/checkpoints/{job['checkpoint_id']}")
    image = digit_png("four")
    answer = deployment.client.predict([("four", image)], checkpoint=described["id"], top_k=3)
    served = {guess["label"]: guess["logit"] for guess in answer["predictions"][0]["top"]}

    source = f"local-dir:{checkpoint}"
    model, _, preprocess = open_clip.create_model_and_transforms(source)
    tokenizer = open_clip.get_tokenizer(source)
    model.eval()
    with torch.no_grad():
        pixels = preprocess(Image.open(io.BytesIO(image)).convert("RGB"))[None]
        features = model.encode_image(pixels, normalize=True)
        expected = {}
        for name in described["classes"]:
            captions = [template.replace("{}", name) for template in described["templates"]]
            prototype = model.encode_text(tokenizer(captions), normalize=True).mean(dim=0)
            prototype /= prototype.norm()
            expected[name] = float(model.logit_scale.exp() * (features @ prototype))
    assert served == pytest.approx(expected, abs=1e-3)


def test_alias_serves_calibrated_predictions(deployment: Deployment, job: Document) -> None:
    assert deployment.client.get("/models/digits")["checkpoint_id"] == job["checkpoint_id"]
    images = [(name, digit_png(name, 1)) for name in CLASSES]
    answer = deployment.client.predict(images, model="digits", top_k=len(CLASSES))
    assert answer["calibrated"]
    assert answer["checkpoint"] == job["checkpoint_id"]
    assert [each["name"] for each in answer["predictions"]] == list(CLASSES)
    for each in answer["predictions"]:
        for kind in ("confidence", "raw_confidence"):
            assert sum(guess[kind] for guess in each["top"]) == pytest.approx(1)


def test_unreadable_upload_is_refused_and_named(deployment: Deployment, tmp_path: Path) -> None:
    archive = write_digits(tmp_path / "torn.zip", spoil=lambda content: content[:60])
    with pytest.raises(ServiceError) as refused:
        deployment.client.upload(archive, "torn")
    assert refused.value.problem is not None
    assert refused.value.problem["status"] == 422
    assert "train/zero/0.png" in str(refused.value)


def test_job_on_unreadable_images_fails_with_their_names(
    deployment: Deployment, tmp_path: Path
) -> None:
    # No upload gets this far, so the bytes are stored past the API, as if they had rotted.
    dataset = _store_unreadable(deployment, tmp_path)
    failed = deployment.await_end(deployment.client.post("/jobs", training(dataset)))
    assert failed["state"] == "failed"
    assert failed["attempts"] == 1, "what fails for a reason is not tried again"
    assert failed["checkpoint_id"] is None
    assert "cannot be read" in failed["error"]["message"]
    assert failed["error"]["names"]
    assert all(name.startswith("train/") for name in failed["error"]["names"])
    page = deployment.client.get("/checkpoints", job_id=failed["id"])
    assert page["data"] == []


def test_running_job_is_cancelled(deployment: Deployment, dataset: Document) -> None:
    job = deployment.client.post("/jobs", training(dataset["id"], epochs=10_000))
    deployment.await_job(job, lambda now: bool(now["progress"] and now["progress"]["step"]))
    trainer = deployment.trainer()
    first = deployment.client.post(f"/jobs/{job['id']}/cancel")
    assert first["state"] == "cancelling"
    ended = deployment.await_end(job)
    assert ended["state"] == "cancelled"
    assert not Path(f"/proc/{trainer}").exists()
    with pytest.raises(ServiceError) as refused:
        deployment.client.post(f"/jobs/{job['id']}/cancel")
    assert refused.value.problem is not None
    assert refused.value.problem["status"] == 409
    assert deployment.client.get("/checkpoints", job_id=job["id"])["data"] == []


def test_two_processes_train_what_one_does(
    deployment: Deployment, dataset: Document, job: Document
) -> None:
    wanted = training(dataset["id"]) | {"resources": {"processes": 2}}
    ended = deployment.await_end(deployment.client.post("/jobs", wanted))
    assert ended["state"] == "succeeded", f"{ended['error']}\n{deployment.logs()}"
    assert ended["processes"] == 2
    alone, together = (
        deployment.client.get(f"/jobs/{each['id']}/metrics", names="loss")["data"][0]
        for each in (job, ended)
    )
    assert together["steps"] == alone["steps"]
    assert together["values"] == pytest.approx(alone["values"], rel=1e-3)


def _snapshots(deployment: Deployment, job: Document) -> list[int]:
    events = deployment.client.get(f"/jobs/{job['id']}/events", limit=1000)["data"]
    return [each["data"]["step"] for each in events if each["type"] == "snapshot_saved"]


def test_killed_trainer_and_killed_worker_cost_an_attempt_each(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The job goes on from its last snapshot, the second time at another worker."""
    job = deployment.client.post("/jobs", _tiny(deployment, tmp_path))
    deployment.await_job(job, lambda now: bool(_snapshots(deployment, now)))
    os.kill(deployment.trainer(), signal.SIGKILL)
    deployment.await_job(job, lambda now: now["attempts"] == 2)
    before = len(_snapshots(deployment, job))
    deployment.await_job(job, lambda now: len(_snapshots(deployment, now)) > before)
    trainer = deployment.trainer()
    worker = deployment.processes.pop("worker")
    os.kill(worker.pid, signal.SIGKILL)
    worker.finish(10)
    deployment.start("worker", "worker")
    ended = deployment.await_end(job)
    assert ended["state"] == "succeeded", ended["error"]
    assert ended["attempts"] == 3
    snapshots = _snapshots(deployment, job)
    assert snapshots == sorted(set(snapshots)), "it began anew"
    loss = deployment.client.get(f"/jobs/{job['id']}/metrics", names="loss")["data"][0]
    assert loss["steps"] == list(range(1, TINY_STEPS + 1))
    assert not Path(f"/proc/{trainer}").exists()


def test_embedded_service_runs_a_job_and_stops_cleanly(tmp_path: Path) -> None:
    command = ["carot", "up", "--port", "0", "--data-dir", str(tmp_path / "data"), "--json"]
    service = Process("up", command, plain_environment(), tmp_path)
    try:
        deadline = time.monotonic() + 90
        while (start := service.log.read_text().find("{")) < 0:
            service.check()
            assert time.monotonic() < deadline, service.tail()
            time.sleep(0.1)
        url = json.loads(service.log.read_text()[start:])["url"]
        with Client(url) as client:
            dataset = client.upload(write_digits(tmp_path / "digits.zip"), "digits")
            body = training(dataset["id"], epochs=1) | {"alias": "small"}
            job = client.post("/jobs", body)
            for _ in client.watch(job["id"]):
                pass
            ended = client.get(f"/jobs/{job['id']}")
            assert ended["state"] == "succeeded", ended["error"]
            answer = client.predict([("zero", digit_png("zero"))], model="small")
            assert answer["checkpoint"] == ended["checkpoint_id"]
    finally:
        status = service.stop()
    assert status == 0, service.tail()


@contextmanager
def _storing(deployment: Deployment, folder: Path) -> Iterator[tuple[Database, ArtifactStore]]:
    """The database and the artifacts of the deployment, past its API."""
    settings = Settings(
        database_url=deployment.environment["CAROT_DATABASE_URL"], data_dir=folder / "past-the-api"
    )
    with closing(Database(settings.database_url)) as database:
        yield database, open_store(settings, database)


def _store_unreadable(deployment: Deployment, folder: Path) -> str:
    """A stored data set whose training images are all torn; its id."""
    torn = digits_folder(folder / "torn", spoil=lambda content: content[:60])
    with _storing(deployment, folder) as (database, artifacts):
        return store_dataset(database, artifacts, torn, CLASSES, EACH)


def _tiny(deployment: Deployment, folder: Path) -> Document:
    """A job of many short steps, with snapshots that are small."""
    with _storing(deployment, folder) as (database, artifacts):
        start = store_tiny(database, artifacts, folder)
    body = training("", epochs=TINY_STEPS // 2, batch_size=12, snapshot_every=40)
    return body | start
