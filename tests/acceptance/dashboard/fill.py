"""Jobs in every state, as workers and people leave them, written without either."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from carot.specs import EvaluateSpec, FinetuneSpec
from store.database import Database
from store.ids import new_id
from store.jobs.claims import (
    Claim,
    beat,
    claim,
    fail,
    lose_attempt,
    mark_not_responding,
    record_event,
    record_metrics,
    set_snapshot,
    succeed,
)
from store.jobs.exits import Exit, ExitReason
from store.jobs.jobs import Wishes, cancel_job, create_job, pause_job
from store.models.checkpoints import create_checkpoint
from store.reports.reports import create_report
from store.tables import DEFAULT_PROJECT, Artifact, Job, JobEvent

LEASE = 60.0
STEPS = 400
KILLED = Exit(
    ExitReason.OUT_OF_MEMORY,
    "the trainer ran out of memory",
    status=1,
    last_words="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB.",
)
HOSTILE = (
    "<script>window.hacked = true</script>",
    "<img src=x onerror='window.hacked = true'>",
    "\u202egnp.tac \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "'); DROP TABLE jobs; --",
    '=HYPERLINK("http://elsewhere.example","x")',
    300 * "W",
)
"""Names that somebody gave; the last is longer than the API lets through, as rows may be."""


def new_job(database: Database, name: str, *, like: Mapping[str, Any] | None = None) -> str:
    """A queued job that fine-tunes on the digits; its id."""
    document = {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
    spec = FinetuneSpec.model_validate({**document, "preset": "carot", **(like or {})})
    with database.session() as session:
        return create_job(session, spec, project=DEFAULT_PROJECT, name=name, wishes=Wishes()).id


def start(database: Database, job_id: str, worker: str = "gpu-box-1:4121") -> Claim:
    """Let a worker take it."""
    with database.session() as session:
        held = claim(session, job_id, worker, LEASE)
        assert held is not None
        record_event(session, held, "phase_started", "training", data={"phase": "training"})
        return held


def train(database: Database, held: Claim, until: int, since: int = 0) -> None:
    """Steps of training, with curves that look like some."""
    points: list[tuple[int, str, float | None]] = []
    for step in range(max(1, since), until + 1, 4):
        done = step / STEPS
        noise = math.sin(7.3 * step) * math.cos(1.7 * step) * 0.06
        loss = 0.25 + 1.6 * math.exp(-5 * done) + noise
        points += [
            (step, "loss", loss),
            (step, "loss.contrastive", 0.8 * loss),
            (step, "loss.distillation", 0.2 * loss - noise / 2),
            (
                step,
                "learning_rate",
                5e-4 * min(1.0, 10 * done) * (1 + math.cos(math.pi * done)) / 2,
            ),
            (step, "gradient_norm", 1.4 + 2 * math.exp(-4 * done) + 4 * noise),
        ]
        if step % 40 == 1:
            points += [
                (step, "validation.accuracy", 0.9 - 0.3 * math.exp(-6 * done) + noise / 5),
                (step, "validation.nll", 0.3 + math.exp(-6 * done)),
                (step, "validation.ece", 0.02 + 0.1 * math.exp(-4 * done)),
                (step, "candidate.accuracy", 0.93 - 0.35 * math.exp(-6 * done) + noise / 5),
                (step, "candidate.calibration_error", (0.02 + 0.1 * math.exp(-4 * done)) ** 2),
                (step, "candidate.sigma_min", 0.02 + 0.05 * done),
            ]
    progress = {
        "phase": "training",
        "step": until,
        "total_steps": STEPS,
        "epoch": 15 * until / STEPS,
        "loss": 0.41,
        "rate": 3.2,
        "eta_seconds": (STEPS - until) / 3.2,
    }
    with database.session() as session:
        record_metrics(session, held, points)
        beat(session, held, LEASE, progress, seconds=until / 3.2)


def snapshot(database: Database, held: Claim, step: int) -> None:
    """Keep one."""
    with database.session() as session:
        artifact = _artifact(session, held, "snapshot", 5_400_000)
        set_snapshot(session, held, artifact, step)
        data = {"step": step, "bytes": 5_400_000}
        record_event(session, held, "snapshot_saved", f"step {step}", data=data)


def finish(database: Database, held: Claim, accuracy: float = 0.934) -> tuple[str, str]:
    """Let it succeed; ids of checkpoint and report."""
    inside = {"accuracy": accuracy, "ece": 0.0312, "calibrated_ece": 0.0121}
    outside = {"accuracy": accuracy - 0.2, "ece": 0.1104, "calibrated_ece": 0.0573}
    metrics = {"in_distribution": inside, "ood_mean": outside}
    with database.session() as session:
        checkpoint = create_checkpoint(
            session,
            held,
            artifact_id=_artifact(session, held, "checkpoint", 4_200_000),
            architecture="carot-mini",
            method="carot",
            classes=["zero", "one"],
            templates=["{}"],
            calibrator={"temperature": 1.4},
            metrics=metrics,
        )
        document = {"version": 1, "datasets": [], "ood_mean": outside}
        report = create_report(session, held, checkpoint_id=checkpoint.id, document=document)
        succeed(session, held, checkpoint_id=checkpoint.id, report_id=report.id)
        return checkpoint.id, report.id


def measure_only(database: Database, name: str) -> str:
    """A job that evaluated, and so has a report but no checkpoint; its id."""
    spec = EvaluateSpec.model_validate(
        {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
    )
    with database.session() as session:
        job = create_job(session, spec, project=DEFAULT_PROJECT, name=name)
    held = start(database, job.id)
    row = {"in_distribution": True, "raw": {"accuracy": 0.61, "ece": 0.082}, "calibrated": None}
    document = {"version": 1, "datasets": [row], "ood_mean": None}
    with database.session() as session:
        report = create_report(session, held, checkpoint_id=None, document=document)
        succeed(session, held, report_id=report.id)
    return job.id


def everything(database: Database) -> dict[str, str]:
    """One job in every state; their ids by what they are."""
    ids: dict[str, str] = {}
    ids["succeeded"] = new_job(
        database,
        "digits, CaRot, batch 128",
        like={"training": {"epochs": 15, "batch_size": 128, "learning_rate": 3e-4}},
    )
    held = start(database, ids["succeeded"])
    train(database, held, 120)
    snapshot(database, held, 120)
    train(database, held, STEPS, 121)
    snapshot(database, held, STEPS)
    finish(database, held)
    ids["evaluated"] = measure_only(database, "zero-shot digits")
    ids["failed"] = new_job(database, "digits, batch 4096")
    for _ in range(2):
        held = start(database, ids["failed"])
        with database.session() as session:
            lose_attempt(session, held, KILLED)
    ids["rejected"] = new_job(database, "pets from the shelter")
    held = start(database, ids["rejected"])
    with database.session() as session:
        message = "12 images of the training split cannot be read"
        names = [f"train/cat/{i}.jpg" for i in range(12)]
        fail(
            session, held, {"code": "data", "message": message, "field": "dataset", "names": names}
        )
    ids["cancelled"] = new_job(database, "a mistake")
    with database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, ids["cancelled"])
    ids["paused"] = new_job(database, "digits, for the night")
    with database.session() as session:
        pause_job(session, DEFAULT_PROJECT, ids["paused"])
    ids["silent"] = new_job(database, "digits, TRACER", like={"preset": "tracer"})
    held = start(database, ids["silent"], "gpu-box-2:991")
    train(database, held, 90)
    with database.session() as session:
        late = datetime.now(UTC) + timedelta(seconds=9)
        session.execute(update(Job).where(Job.id == held.job_id).values(lease_expires_at=late))
        mark_not_responding(session, held.job_id, 30.0)
    ids["running"] = new_job(database, "digits, seed 2")
    held = start(database, ids["running"])
    train(database, held, 160)
    snapshot(database, held, 160)
    train(database, held, 260, 161)
    for number in (3, 4):
        ids[f"queued {number}"] = new_job(database, f"digits, seed {number}")
    return ids


def many(database: Database, count: int) -> None:
    """So many jobs at once: most have ended, some wait."""
    spec = FinetuneSpec.model_validate(
        {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
    ).model_dump(mode="json")
    states = ("succeeded", "succeeded", "succeeded", "failed", "cancelled", "queued")
    jobs = [
        {
            "id": new_id("job"),
            "project_id": DEFAULT_PROJECT,
            "kind": "finetune",
            "name": f"sweep {number}",
            "state": states[number % len(states)],
            "spec": spec,
            "dataset": "builtin:digits",
            "method": "carot",
            "max_attempts": 2,
            "event_seq": 1,
        }
        for number in range(count)
    ]
    events = [
        {"job_id": job["id"], "seq": 1, "type": "state", "data": {"state": job["state"]}}
        for job in jobs
    ]
    with database.session() as session:
        session.execute(insert(Job), jobs)
        session.execute(insert(JobEvent), events)


def _artifact(session: Session, held: Claim, kind: str, size: int) -> str:
    row = Artifact(
        id=new_id("art"),
        kind=kind,
        state="committed",
        name=f"{kind}.tar",
        media_type="application/x-tar",
        sha256=64 * "0",
        size=size,
        job_id=held.job_id,
    )
    session.add(row)
    session.flush()
    return row.id
