"""Jobs of the kind `predict`: what their trainer is given, and what becomes of its file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from carot.data.digits import handwritten_digits
from store.artifacts.rows import COMMITTED
from store.errors import NotFound
from store.jobs.jobs import cancel_job
from store.jobs.states import JobState
from store.predictions.files import get_predictions
from store.retention.retention import collect_garbage
from store.tables import DEFAULT_PROJECT, Artifact, Job
from tests.worker.conftest import Workshop

pytestmark = pytest.mark.slow
CONTENT = bytes(range(256)) * 20_000  # several pieces
WRITE = """
spec = json.loads((folder / "spec.json").read_text())
assert spec["kind"] == "predict" and spec["dataset"] == "builtin:digits"
assert spec["model"]["checkpoint"] is None
assert (folder / spec["model"]["folder"] / "classifier.json").exists()
say("phase_started", phase="predicting", total=4)
say("images_scored", images=2, total=4)
say("warning", code="unreadable_image", message="x.png: torn", names=["x.png"])
summary = {"images": 4, "errors": 1, "accuracy": 0.5}
(folder / "predictions.json").write_text(json.dumps(summary))
(folder / "predictions.parquet").write_bytes(bytes(range(256)) * 20_000)
"""


def predict(workshop: Workshop, **changes: Any) -> str:
    checkpoint = workshop.run(workshop.job(), "results()").checkpoint_id
    model = {"checkpoint": checkpoint}
    document = {"kind": "predict", "model": model, "dataset": "builtin:digits"}
    return workshop.queued(document | changes)


def test_the_file_is_listed_with_the_end_of_the_job(workshop: Workshop) -> None:
    job = workshop.run(predict(workshop), WRITE)
    assert (job.state, job.checkpoint_id, job.report_id) == (JobState.SUCCEEDED, None, None)
    assert job.progress is not None
    assert (job.progress["phase"], job.progress["step"]) == ("predicting", 2)
    with workshop.database.reading() as session:
        row = get_predictions(session, DEFAULT_PROJECT, job.id)
        assert (row.kind, row.state, row.job_id) == ("predictions", COMMITTED, job.id)
        assert row.sha256 == hashlib.sha256(CONTENT).hexdigest()
        key = row.ref
    assert b"".join(workshop.artifacts.open(key)) == CONTENT
    told = {event.type: event.data for event in workshop.events(job.id)}
    assert told["predictions_saved"]["accuracy"] == 0.5
    assert told["predictions_saved"]["bytes"] == len(CONTENT)
    assert told["warning"]["names"] == ["x.png"]
    collect_garbage(workshop.database, workshop.artifacts, older_than_seconds=0)
    assert b"".join(workshop.artifacts.open(key)) == CONTENT


def test_labelled_images_beside_are_brought_along(workshop: Workshop, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "pets").mkdir(parents=True)
    look = """
assert spec["transductive"]["dataset"] == "folder:datasets/root/pets"
assert (folder / "datasets" / "root" / "pets").is_dir()
"""
    job_id = predict(workshop, transductive={"dataset": "folder:pets"})
    job = workshop.run(job_id, WRITE + look, dataset_root=root)
    assert job.state == JobState.SUCCEEDED, job.error
    assert job.spec["transductive"]["dataset"] == "folder:pets"


def test_a_crash_begins_anew_and_lists_nothing(workshop: Workshop) -> None:
    job_id = predict(workshop)
    job = workshop.run(job_id, WRITE + "\nos.abort()")
    assert job.state == JobState.QUEUED
    with workshop.database.reading() as session, pytest.raises(NotFound):
        get_predictions(session, DEFAULT_PROJECT, job_id)
    assert workshop.run(job_id, WRITE).state == JobState.SUCCEEDED
    with workshop.database.reading() as session:
        rows = session.scalars(select(Artifact).where(Artifact.kind == "predictions")).all()
    assert len(rows) == 1


def test_a_cancelled_job_leaves_nothing(workshop: Workshop) -> None:
    job_id = predict(workshop)
    wait = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    say("images_scored", images=1, total=4)
    while True:
        time.sleep(0.1)
    """
    thread = workshop.start(job_id, wait)
    workshop.until_step(job_id, 1)
    with workshop.database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, job_id)
    thread.join()
    assert workshop.look(job_id).state == JobState.CANCELLED
    with workshop.database.reading() as session:
        assert not session.scalars(select(Artifact).where(Artifact.kind == "predictions")).all()


def test_a_checkpoint_that_is_gone_fails_the_job(workshop: Workshop) -> None:
    job_id = predict(workshop, model={"checkpoint": f"ckpt_{26 * '0'}"})
    job: Job = workshop.run(job_id, WRITE)
    assert job.error is not None
    assert (job.state, job.error["code"]) == (JobState.FAILED, "not_found")


# The child sees a folder, never the database.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.timeout(300)
def test_the_real_child_runs_it(workshop: Workshop) -> None:
    """From the spec in the database to the rows in the file, with the trainer that is used."""
    import io

    import pyarrow.parquet as pq

    from worker.supervisor import Supervisor
    from worker.trainer_process import trainer_command

    def run(job_id: str) -> Job:
        Supervisor(
            workshop.settings,
            workshop.database,
            workshop.artifacts,
            worker="tester",
            command=trainer_command,
            stopping=workshop.stopping,
        ).run_one()
        return workshop.look(job_id)

    test = {"name": "test", "dataset": "builtin:digits", "in_distribution": True}
    measured = {"datasets": [test]}  # without shifts, which are of no matter here
    trained = run(workshop.job(method={"name": "zero_shot"}, evaluation=measured))
    assert trained.state == JobState.SUCCEEDED, trained.error
    model = {"checkpoint": trained.checkpoint_id}
    document = {"kind": "predict", "model": model, "dataset": "builtin:digits", "split": "test"}
    job = run(workshop.queued(document | {"coverage": 0.9, "max_risk": 0.2}))
    assert job.state == JobState.SUCCEEDED, job.error
    with workshop.database.reading() as session:
        key = get_predictions(session, DEFAULT_PROJECT, job.id).ref
    table = pq.read_table(io.BytesIO(b"".join(workshop.artifacts.open(key))))
    source = handwritten_digits("test")
    assert table.column("key").to_pylist() == list(source.keys)
    assert table.column("label_index").to_pylist() == source.labels.tolist()
    about = json.loads(table.schema.metadata[b"carot"])
    assert about["checkpoint"] == trained.checkpoint_id
    [told] = [e.data for e in workshop.events(job.id) if e.type == "predictions_saved"]
    right = sum(table.column("correct").to_pylist())
    assert (told["right"], told["accuracy"]) == (right, right / len(table))
    assert right / len(table) > 0.5
