"""Every way a run can end, with real trainer processes on real databases."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, update

from store.artifacts.bundles import pack, unpack
from store.artifacts.rows import commit, get_artifact
from store.database import database_now
from store.datasets.datasets import create_dataset
from store.jobs.claims import claim, release
from store.jobs.events import list_metrics
from store.jobs.jobs import cancel_job, retry_job
from store.jobs.states import JobState
from store.models.aliases import get_alias
from store.models.checkpoints import get_checkpoint
from store.reports.reports import get_report
from store.retention.deletion import delete
from store.tables import DEFAULT_PROJECT, Artifact, Checkpoint, Job, Report
from tests.worker.conftest import Workshop, is_alive
from tests.worker.stores import FullDisk, Keeping
from worker import heartbeat

pytestmark = pytest.mark.slow

STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    while True: time.sleep(1)
(folder.parent / "pids").write_text(f"{os.getpid()} {child}")
step(1)
while True: time.sleep(1)
"""


def transitions(workshop: Workshop, job_id: str) -> list[str]:
    rows = workshop.events(job_id)
    return [row.data["transition"] for row in rows if "transition" in row.data]


def pids(workshop: Workshop) -> list[int]:
    return [int(pid) for pid in (workshop.settings.data_dir / "scratch/pids").read_text().split()]


def is_clean(workshop: Workshop) -> bool:
    return not list((workshop.settings.data_dir / "scratch").glob("job_*"))


def test_success_lists_everything_at_once(workshop: Workshop, results: Path) -> None:
    job_id = workshop.job(alias="mine")
    program = """
    say("phase_started", phase="training", total=10)
    say("validation_measured", step=0, images=9, accuracy=0.25, nll=1.5, ece=0.125)
    for n in range(1, 11): step(n)
    say("validation_measured", step=10, images=9, accuracy=0.5, nll=1.25, ece=0.0625)
    say("evaluation_done", dataset="clean", index=0, total=1, metrics={"ece": 0.1, "nll": None})
    say("warning", code="other", message="be careful", names=["a"])
    results()
    """
    job = workshop.run(job_id, program)
    assert (job.state, job.attempts, job.error) == (JobState.SUCCEEDED, 1, None)
    assert transitions(workshop, job_id) == ["claim", "succeed"]
    rows = {row.type: row for row in workshop.events(job_id)}
    assert rows["warning"].level == "warning"
    assert rows["warning"].data["message"] == "be careful"
    measured = rows["validation_measured"]
    assert measured.message == "step 10: accuracy 50.0 %, NLL 1.250, ECE 6.2 %"
    assert rows["evaluation_done"].data["metrics"] == {"ece": 0.1, "nll": None}
    with workshop.database.reading() as session:
        curves = list_metrics(session, job_id)
        assert [step for step, _ in curves["loss"]] == list(range(1, 11))
        assert curves["loss.contrastive"][0] == (1, 0.5)
        assert list(curves["validation.accuracy"]) == [(0, 0.25), (10, 0.5)]
        assert list(curves["validation.nll"]) == [(0, 1.5), (10, 1.25)]
        assert list(curves["validation.ece"]) == [(0, 0.125), (10, 0.0625)]
        checkpoint = get_checkpoint(session, DEFAULT_PROJECT, str(job.checkpoint_id))
        assert get_alias(session, DEFAULT_PROJECT, "mine").checkpoint_id == checkpoint.id
        assert (checkpoint.classes, checkpoint.templates) == (["a", "b", "c"], ["a {}."])
        assert checkpoint.metrics["in_distribution"]["accuracy"] > 0
        report = get_report(session, DEFAULT_PROJECT, str(job.report_id))
        assert report.checkpoint_id == checkpoint.id
        assert report.document["spec"] == job.spec
        key = checkpoint.artifact.ref
        logits = get_artifact(session, str(report.logits_artifact_id)).ref
    assert b"".join(workshop.artifacts.open(key)) == b"".join(pack(results / "checkpoint"))
    assert b"".join(workshop.artifacts.open(logits)) == b"".join(pack(results / "logits"))
    assert is_clean(workshop)


def test_an_evaluation_has_a_report_and_no_checkpoint(workshop: Workshop) -> None:
    import_only = """
    import shutil
    results()
    shutil.rmtree(folder / "checkpoint")
    """
    job = workshop.run(workshop.job(evaluate=True), import_only)
    assert (job.state, job.checkpoint_id) == (JobState.SUCCEEDED, None)
    assert job.report_id is not None


def test_what_the_user_can_mend_fails_at_once(workshop: Workshop) -> None:
    program = """
    say("failed", error="TooManyUnreadable", message="3 of 9", field="dataset", names=["a", "b"])
    sys.exit(1)
    """
    job = workshop.run(workshop.job(), program)
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.error == {
        "code": "too_many_unreadable",
        "message": "3 of 9",
        "field": "dataset",
        "names": ["a", "b"],
    }


def test_a_crash_costs_an_attempt_and_the_last_one_ends_the_job(workshop: Workshop) -> None:
    job_id = workshop.job()
    program = """
    print("CUDA error: an illegal memory access", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    assert workshop.run(job_id, program).state is not None
    assert workshop.look(job_id).state == JobState.QUEUED
    job = workshop.run(job_id, program)
    assert (job.state, job.attempts) == (JobState.FAILED, 2)
    assert job.error is not None
    assert job.error["code"] == "signal"
    assert "signal 9 (SIGKILL)" in job.error["message"]
    assert job.last_exit is not None
    assert (job.last_exit["reason"], job.last_exit["signal"]) == ("signal", 9)
    assert "illegal memory access" in job.last_exit["last_words"]
    assert transitions(workshop, job_id) == ["claim", "requeue", "claim", "fail"]


def test_an_exception_nobody_foresaw_is_a_crash(workshop: Workshop) -> None:
    job = workshop.run(workshop.job(), "raise RuntimeError('oops')")
    assert job.state == JobState.QUEUED
    message = "an error that the trainer did not expect: RuntimeError: oops"
    assert workshop.events(job.id)[-1].message == message
    assert job.last_exit is not None
    assert job.last_exit["reason"] == "exception"
    assert "Traceback" in job.last_exit["last_words"]


def test_lines_that_are_no_events_do_no_harm(workshop: Workshop) -> None:
    program = """
    print("hello"); print('{"type": "nonsense"}'); print("{" * 100000); sys.stdout.flush()
    step(1, loss=float("nan"))
    results()
    """
    job = workshop.run(workshop.job(), program)
    assert job.state == JobState.SUCCEEDED
    with workshop.database.reading() as session:
        assert list_metrics(session, job.id)["loss"] == [(1, None)]


def test_cancel_stops_the_trainer_gently(workshop: Workshop) -> None:
    job_id = workshop.job()
    program = """
    def stop(*_):
        (folder.parent / "gently").touch()
        sys.exit(3)
    signal.signal(signal.SIGTERM, stop)
    step(1)
    while True: time.sleep(1)
    """
    thread = workshop.start(job_id, program)
    workshop.until_step(job_id, 1)
    with workshop.database.session() as session:
        assert cancel_job(session, DEFAULT_PROJECT, job_id).state == JobState.CANCELLING
    thread.join(60)
    assert workshop.look(job_id).state == JobState.CANCELLED
    assert (workshop.settings.data_dir / "scratch/gently").exists()
    assert transitions(workshop, job_id) == ["claim", "ask_to_cancel", "confirm_cancel"]


def test_a_stubborn_trainer_is_killed_with_all_its_children(workshop: Workshop) -> None:
    job_id = workshop.job()
    thread = workshop.start(job_id, STUBBORN, cancel_grace_seconds=0.5)
    workshop.until_step(job_id, 1)
    with workshop.database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, job_id)
    thread.join(60)
    assert workshop.look(job_id).state == JobState.CANCELLED
    assert [is_alive(pid) for pid in pids(workshop)] == [False, False]
    assert is_clean(workshop)


def test_a_worker_that_was_replaced_kills_its_trainer_and_writes_nothing(
    workshop: Workshop,
) -> None:
    job_id = workshop.job()
    thread = workshop.start(job_id, STUBBORN)
    workshop.until_step(job_id, 1)
    with workshop.database.session() as session:
        session.execute(update(Job).values(lease_expires_at=database_now(-1)))
        assert claim(session, job_id, "another", 60) is not None
        before = [row.seq for row in workshop.events(job_id)]
    thread.join(60)
    assert not thread.is_alive()
    assert [is_alive(pid) for pid in pids(workshop)] == [False, False]
    job = workshop.look(job_id)
    assert (job.state, job.worker, job.fence) == (JobState.RUNNING, "another", 2)
    assert [row.seq for row in workshop.events(job_id)][: len(before)] == before
    assert transitions(workshop, job_id) == ["claim", "take_over"]


def test_a_result_that_comes_too_late_is_not_listed(workshop: Workshop) -> None:
    job_id = workshop.job(alias="mine")
    program = """
    step(1)
    while not (folder.parent / "go").exists(): time.sleep(0.05)
    results()
    """
    thread = workshop.start(job_id, program)
    workshop.until_step(job_id, 1)
    with workshop.database.session() as session:
        session.execute(update(Job).values(lease_expires_at=database_now(-1)))
        assert claim(session, job_id, "another", 60) is not None
    (workshop.settings.data_dir / "scratch/go").touch()
    thread.join(60)
    with workshop.database.reading() as session:
        assert session.scalars(select(Checkpoint.id)).all() == []
        assert session.scalars(select(Report.id)).all() == []
        assert session.scalars(select(Artifact.id)).all() == []
    assert workshop.look(job_id).state == JobState.RUNNING


def test_shutting_down_gives_the_job_back_with_its_snapshot(workshop: Workshop) -> None:
    job_id = workshop.job()
    first = """
    def stop(*_):
        snapshot(7)
        sys.exit(3)
    signal.signal(signal.SIGTERM, stop)
    step(1)
    while True: time.sleep(1)
    """
    thread = workshop.start(job_id, first)
    workshop.until_step(job_id, 1)
    workshop.stopping.set()
    thread.join(60)
    job = workshop.look(job_id)
    assert (job.state, job.attempts, job.snapshot_step) == (JobState.QUEUED, 0, 7)
    assert transitions(workshop, job_id) == ["claim", "release"]
    assert workshop.run(job_id, "results()").state == JobState.QUEUED  # it claims no more
    workshop.stopping.clear()
    again = """
    assert json.loads((folder / "snapshot/snapshot.json").read_text()) == {"step": 7}
    results()
    """
    job = workshop.run(job_id, again)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)


def test_snapshots_are_kept_while_it_runs_and_replace_each_other(workshop: Workshop) -> None:
    job_id = workshop.job()
    program = """
    for n in (1, 2, 3):
        snapshot(n)
        while not (folder.parent / f"go{n}").exists(): time.sleep(0.05)
    os.abort()
    """
    thread = workshop.start(job_id, program)

    def is_kept(step: int) -> bool:
        return workshop.look(job_id).snapshot_step == step

    for n in (1, 2, 3):
        workshop.until(partial(is_kept, n))
        (workshop.settings.data_dir / f"scratch/go{n}").touch()
    thread.join(60)
    job = workshop.look(job_id)
    assert job.state == JobState.QUEUED
    with workshop.database.reading() as session:
        assert session.scalars(select(Artifact.id)).all() == [job.snapshot_artifact_id]
    assert "ended by signal 6" in workshop.events(job_id)[-1].message


def test_no_snapshot_is_ahead_of_the_curves(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The heartbeat, which usually writes the curves, is slow here: as slow as when a worker is
    # killed before its next beat.
    monkeypatch.setattr(heartbeat, "TICK_SECONDS", 30.0)
    job_id = workshop.job()
    program = """
    step(1); step(2); snapshot(2); results()
    while not (folder / "go").exists(): time.sleep(0.05)
    """
    thread = workshop.start(job_id, program)
    workshop.until(lambda: workshop.look(job_id).snapshot_step == 2)
    with workshop.database.reading() as session:
        assert [step for step, _ in list_metrics(session, job_id)["loss"]] == [1, 2]
    [folder] = (workshop.settings.data_dir / "scratch").glob("job_*")
    (folder / "go").touch()
    thread.join(timeout=60)
    assert workshop.look(job_id).state == JobState.SUCCEEDED


def test_a_damaged_snapshot_costs_time_but_no_result(workshop: Workshop) -> None:
    job_id = workshop.job()
    workshop.run(job_id, "snapshot(5)\nos.abort()")
    with workshop.database.session() as session:
        key = get_artifact(session, str(workshop.look(job_id).snapshot_artifact_id)).ref
    workshop.artifacts.delete(key)
    job = workshop.run(job_id, 'assert not (folder / "snapshot").exists()\nresults()')
    assert job.state == JobState.SUCCEEDED
    codes = [row.data.get("code") for row in workshop.events(job_id) if row.type == "warning"]
    assert codes == ["snapshot_lost"]


def test_data_sets_and_checkpoints_are_laid_out_beside_the_spec(
    workshop: Workshop, tmp_path: Path
) -> None:
    (tmp_path / "images/train/犬").mkdir(parents=True)
    (tmp_path / "images/train/犬/1.png").write_bytes(b"an image")
    stored = workshop.stored(pack(tmp_path / "images"))
    with workshop.database.session() as session:
        bundle = commit(session, workshop.artifacts, stored)
        dataset_id = create_dataset(
            session, DEFAULT_PROJECT,
            name="own", source={}, classes=["犬"], splits={}, images=1, bytes=8,
            artifact=bundle,
        ).id  # fmt: skip
        bundled_id = create_dataset(
            session, DEFAULT_PROJECT,
            name="digits", source={"source": "builtin:digits"}, classes=["0"], splits={},
            images=1, bytes=0, artifact=None,
        ).id  # fmt: skip
    made = workshop.run(workshop.job(), "results()")
    rows = [{"name": "one", "dataset": bundled_id}, {"name": "two", "dataset": dataset_id}]
    job_id = workshop.job(
        model={"checkpoint": made.checkpoint_id},
        dataset=dataset_id,
        evaluation={"datasets": rows},
    )
    program = f"""
    spec = json.loads((folder / "spec.json").read_text())
    os.chdir(folder)
    assert spec["dataset"] == "folder:datasets/{dataset_id}"
    names = [row["dataset"] for row in spec["evaluation"]["datasets"]]
    assert names == ["builtin:digits", spec["dataset"]]
    assert Path("datasets/{dataset_id}/train/犬/1.png").read_bytes() == b"an image"
    assert spec["model"]["checkpoint"] is None
    assert (Path(spec["model"]["folder"]) / "classifier.json").exists()
    results()
    report = json.loads(Path("report.json").read_text())
    report["datasets"][1]["dataset"] = spec["dataset"]
    Path("report.json").write_text(json.dumps(report))
    """
    job = workshop.run(job_id, program)
    assert job.state == JobState.SUCCEEDED, workshop.events(job_id)[-1].message
    with workshop.database.reading() as session:
        document = get_report(session, DEFAULT_PROJECT, str(job.report_id)).document
    assert document["datasets"][1]["dataset"] == document["dataset"] == dataset_id
    assert str(tmp_path) not in json.dumps(document)


def test_a_data_set_that_is_gone_or_damaged_fails_the_job(workshop: Workshop) -> None:
    missing = workshop.run(workshop.job(dataset="ds_" + "0" * 26), "results()")
    assert missing.error is not None
    assert missing.error["code"] == "not_found"
    stored = workshop.stored([b"no bundle"])
    with workshop.database.session() as session:
        bundle = commit(session, workshop.artifacts, stored)
        dataset_id = create_dataset(
            session,
            DEFAULT_PROJECT,
            name="bad",
            source={},
            classes=[],
            splits={},
            images=0,
            bytes=0,
            artifact=bundle,
        ).id
    damaged = workshop.run(workshop.job(dataset=dataset_id), "results()")
    assert damaged.error is not None
    assert (damaged.state, damaged.error["code"]) == (JobState.FAILED, "artifact_corrupt")


def test_a_retry_after_its_checkpoint_was_deleted_says_so(workshop: Workshop) -> None:
    made = workshop.run(workshop.job(), "results()")
    job_id = workshop.job(model={"checkpoint": made.checkpoint_id})
    program = "say('failed', error='DataError', message='torn'); sys.exit(1)"
    assert workshop.run(job_id, program).state == JobState.FAILED
    with workshop.database.session() as session:
        delete(session, get_checkpoint(session, DEFAULT_PROJECT, str(made.checkpoint_id)))
        retry_job(session, DEFAULT_PROJECT, job_id)
    again = workshop.run(job_id, "results()")
    assert again.error is not None
    assert (again.state, again.error["code"]) == (JobState.FAILED, "gone")
    assert str(made.checkpoint_id) in again.error["message"]


def test_a_full_disk_at_the_end_fails_the_job_and_lists_nothing(workshop: Workshop) -> None:
    workshop.artifacts = FullDisk(workshop.artifacts)  # type: ignore[assignment]
    job_id, go = workshop.job(alias="mine"), workshop.scripts / "go"
    program = f"snapshot(1)\nwhile not Path({str(go)!r}).exists(): time.sleep(0.05)\nresults()"
    thread = workshop.start(job_id, program)
    workshop.until(lambda: any(row.type == "warning" for row in workshop.events(job_id)))
    go.touch()
    thread.join(60)
    job = workshop.look(job_id)
    assert job.error is not None
    assert (job.state, job.error["code"]) == (JobState.FAILED, "no_space")
    with workshop.database.reading() as session:
        assert session.scalars(select(Artifact.id)).all() == []
        assert session.scalars(select(Checkpoint.id)).all() == []
    warnings = [row.data["code"] for row in workshop.events(job.id) if row.type == "warning"]
    assert warnings == ["snapshot_not_kept"]


def test_a_job_that_somebody_has_or_that_ended_is_left_alone(workshop: Workshop) -> None:
    job_id = workshop.job()
    with workshop.database.session() as session:
        claim(session, job_id, "another", 60)
    assert workshop.run(job_id, "results()").worker == "another"
    done = workshop.run(workshop.job(), "results()")
    assert workshop.run(done.id, "os.abort()").state == JobState.SUCCEEDED


def test_a_trainer_stopped_by_a_stranger_has_crashed(workshop: Workshop) -> None:
    job_id = workshop.job()
    program = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    (folder.parent / "pids").write_text(str(os.getpid()))
    step(1)
    while True: time.sleep(1)
    """
    thread = workshop.start(job_id, program)
    workshop.until_step(job_id, 1)
    os.kill(pids(workshop)[0], signal.SIGTERM)
    thread.join(60)
    assert workshop.look(job_id).state == JobState.QUEUED
    assert "somebody told the trainer to stop" in workshop.events(job_id)[-1].message


def test_folders_of_dead_workers_are_cleaned_up(workshop: Workshop) -> None:
    live, ended = workshop.job(), workshop.job()
    with workshop.database.session() as session:
        held = claim(session, live, "another", 60)
        assert held is not None
    scratch = workshop.settings.data_dir / "scratch"
    kept = [scratch / f"{live}-{held.fence}", scratch / "upload-of-the-api"]
    gone = [scratch / f"{live}-0", scratch / f"{ended}-1", scratch / f"job_{'0' * 26}-1"]
    for folder in kept + gone:
        folder.mkdir(parents=True)
    supervisor = workshop.supervisor("")
    supervisor.clean_scratch()
    assert sorted(scratch.iterdir()) == sorted(kept)
    with workshop.database.session() as session:
        release(session, held)
    workshop.stopping.set()
    supervisor.clean_scratch()
    assert sorted(scratch.iterdir()) == sorted(kept[1:])


def test_a_stored_snapshot_is_one_version_and_of_the_step_it_says(
    workshop: Workshop, tmp_path: Path
) -> None:
    """The trainer replaces its snapshot as fast as it can while it is being stored."""
    job_id = workshop.job()
    program = """
    import shutil
    for n in range(1, 400):
        aside = folder / "aside"
        aside.mkdir()
        for name in "abc": (aside / name).write_text(str(n))
        (aside / "snapshot.json").write_text(json.dumps({"step": n}))
        step(n)
        if n > 1: (folder / "snapshot").rename(folder / "old")
        aside.rename(folder / "snapshot")
        shutil.rmtree(folder / "old", ignore_errors=True)
        say("snapshot_saved", step=n, path="snapshot")
        time.sleep(0.002)
    os.abort()
    """
    workshop.artifacts = keeping = Keeping(workshop.artifacts)  # type: ignore[assignment]
    workshop.run(job_id, program)
    told = [r.data["step"] for r in workshop.events(job_id) if r.type == "snapshot_saved"]
    assert len(told) == len(keeping.kept) > 1
    for step, content in zip(told, keeping.kept, strict=True):
        unpack([content], tmp_path / str(step))
        assert {(tmp_path / str(step) / name).read_text() for name in "abc"} == {str(step)}
    assert workshop.look(job_id).snapshot_step == told[-1]
