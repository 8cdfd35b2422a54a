"""A service with a week's work on it, all of it done: the pictures of the dashboard are of this.

carot-mini on the bundled digits: jobs that trained, one that went wrong, one that was cancelled;
two models that were asked about test images and told what those showed. Everything has a seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.client import Document
from tests.acceptance.dashboard.asking import ask, write_night
from tests.acceptance.harness import Deployment

LONG_SECONDS = 900.0
Ids = dict[str, str]


def finetuning(name: str, preset: str, alias: str | None = None, **training: Any) -> Document:
    """A job that fine-tunes carot-mini on the digits."""
    settings = {"batch_size": 128, "learning_rate": 5e-4, "warmup_fraction": 0.05, "seed": 0}
    return {
        "kind": "finetune",
        "name": name,
        "preset": preset,
        "model": {"architecture": "carot-mini"},
        "dataset": "builtin:digits",
        "training": settings | training,
        **({"alias": alias} if alias else {}),
    }


def scoring(dataset: str, checkpoint: str) -> Document:
    """A job that asks a checkpoint about every image of a data set."""
    model = {"checkpoint": checkpoint}
    return {"kind": "predict", "name": "the night, scored", "dataset": dataset, "model": model}


ZERO_SHOT = {
    "kind": "evaluate",
    "name": "digits, zero-shot",
    "model": {"architecture": "carot-mini"},
    "dataset": "builtin:digits",
}
JOBS = {
    "first": finetuning("digits, first try", "finetune", "digits-production", epochs=2),
    "made": finetuning("digits, CaRot", "carot", "digits-new", epochs=15),
    "zero": ZERO_SHOT,
    "flyp": finetuning("digits, FLYP", "flyp", "digits-night", epochs=8),
    "failed": finetuning("digits, TRACER", "tracer", epochs=300) | {"max_seconds": 60},
    "cancelled": finetuning("digits, CaRot, batch 16", "carot", batch_size=16, epochs=40),
}
"""By what becomes of them."""

RUNNING = finetuning("digits, CaRot, seed 1", "carot", epochs=100, seed=1)
WAITING = finetuning("digits, CaRot, seed 2", "carot", epochs=100, seed=2)
SET_ASIDE = finetuning("digits, LP-FT", "lp-ft", epochs=15)


def deploy(folder: Path) -> Deployment:
    """API and two workers on one folder, ready."""
    data_dir = folder / "data"
    data_dir.mkdir()
    deployment = Deployment(
        folder, {"CAROT_DATA_DIR": str(data_dir), "CAROT_DATABASE_URL": "", "CAROT_BROKER_URL": ""}
    )
    try:
        deployment.migrate()
        deployment.start("api", "api")
        for name in ("worker", "second"):
            deployment.start(name, "worker")
        deployment.await_ready()
    except BaseException:
        deployment.stop()
        raise
    return deployment


def live(deployment: Deployment, folder: Path) -> Ids:
    """Do the work; ids by what they are, with one job running and others waiting at the end."""
    client = deployment.client
    night = client.upload(write_night(folder / "night.zip"), "digits of the night")["id"]
    ids: Ids = {"dataset": client.post("/datasets", {"source": "builtin:digits"})["id"]}
    jobs = {name: client.post("/jobs", body) for name, body in JOBS.items()}
    for name in ("first", "made", "zero", "flyp"):
        jobs[name] = ended(deployment, jobs[name], "succeeded")
    made, flyp = (jobs[name]["checkpoint_id"] for name in ("made", "flyp"))
    client.put("/models/digits-production", {"checkpoint": made})
    ids["hardest"] = str(ask(deployment, "digits-production"))
    ask(deployment, "digits-night", shifted=True)
    ended(deployment, jobs["failed"], "failed")
    deployment.await_job(jobs["cancelled"], _has_trained, LONG_SECONDS)
    client.post(f"/jobs/{jobs['cancelled']['id']}/cancel")
    ended(deployment, jobs["cancelled"], "cancelled")
    ended(deployment, client.post("/jobs", scoring(night, made)), "succeeded")
    deployment.processes.pop("second").stop()
    jobs["running"] = client.post("/jobs", RUNNING)
    client.post("/jobs", WAITING)
    client.post(f"/jobs/{client.post('/jobs', SET_ASIDE)['id']}/pause")
    deployment.await_job(jobs["running"], _is_on_its_way, LONG_SECONDS)
    ids |= {name: job["id"] for name, job in jobs.items()}
    ids["report"] = jobs["made"]["report_id"]
    ids["both"] = f"checkpoint={made}&checkpoint={flyp}"
    return ids


def ended(deployment: Deployment, job: Document, state: str) -> Document:
    """The job once it has ended, which must be so."""
    now = deployment.await_end(job, LONG_SECONDS)
    assert now["state"] == state, f"{now['name']} {now['state']}: {now['error']}"
    return now


def _has_trained(job: Document) -> bool:
    return bool(job["progress"] and (job["progress"].get("step") or 0) >= 50)


def _is_on_its_way(job: Document) -> bool:
    progress = job["progress"] or {}
    return bool(progress.get("total_steps") and progress["step"] / progress["total_steps"] > 0.08)
