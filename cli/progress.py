"""Runs as bars: a local one from its events, a remote one from its stream."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.progress import Progress, TaskID

from carot.events import (
    AnyEvent,
    EvaluationDone,
    ImagesScored,
    PhaseStarted,
    StepDone,
    ValidationMeasured,
    Warning,
    in_words,
)
from cli.client import Client, Document
from cli.output import bars, duration, err, fail


class BarReporter:
    """A `carot.events.Reporter` that draws."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._task = progress.add_task("preparing", total=None, note="")

    def report(self, event: AnyEvent) -> None:
        """Draw one event."""
        if isinstance(event, PhaseStarted):
            self.progress.update(
                self._task, description=event.phase, total=event.total, completed=0, note=""
            )
        elif isinstance(event, StepDone):
            self.progress.update(
                self._task,
                completed=event.step,
                total=event.total_steps,
                note=f"loss {event.loss:.3f}",
            )
        elif isinstance(event, EvaluationDone):
            self.progress.update(
                self._task, completed=event.index + 1, total=event.total, note=event.dataset
            )
        elif isinstance(event, ImagesScored):
            self.progress.update(self._task, completed=event.images, total=event.total)
        elif isinstance(event, ValidationMeasured):
            err.print(f"validation, {in_words(event)}", markup=False, highlight=False)
        elif isinstance(event, Warning):
            err.print(f"[yellow]warning:[/] {escape(event.message)}")


def watch(client: Client, job_id: str, title: str, progress: Progress | None = None) -> Document:
    """Draw a job of the service until it ends; its last state."""
    if progress is None:
        with bars() as own:
            return watch(client, job_id, title, own)
    task = progress.add_task(f"{title}: queued", total=None, note="")
    for item in client.watch(job_id):
        _draw(progress, task, title, item)
    job = client.get(f"/jobs/{job_id}")
    _finish(progress, task, title, job)
    return job


def _draw(progress: Progress, task: TaskID, title: str, item: Document) -> None:
    data: dict[str, Any] = item["data"]
    if item["event"] == "progress":
        step, total = data.get("step"), data.get("total_steps")
        loss = data.get("loss")
        note = f"loss {loss:.3f}" if loss is not None else ""
        if data.get("rate") and data.get("phase") == "training":
            note += f", {data['rate']:.1f} steps/s"
        if data.get("eta_seconds"):
            note += f", {duration(data['eta_seconds'])} left"
        progress.update(
            task,
            description=f"{title}: {data.get('phase') or 'running'}",
            completed=step or 0,
            total=total,
            note=note,
        )
    elif item["event"] == "validation_measured":
        err.print(f"{title}: validation, {data['message']}", markup=False, highlight=False)
    elif item["event"] == "warning":
        err.print(f"[yellow]warning:[/] {escape(data['message'])}")


def _finish(progress: Progress, task: TaskID, title: str, job: Document) -> None:
    known = progress.tasks[progress.task_ids.index(task)]
    total = known.total or 1
    done = job["state"] == "succeeded"
    progress.update(
        task,
        description=f"{title}: {job['state']}",
        total=total,
        completed=total if done else known.completed,
        note="",
    )
    if job["state"] == "failed":
        error = job.get("error") or {}
        where = f" ({error['field']})" if error.get("field") else ""
        fail(f"{title}: {error.get('message', 'failed without a reason')}{where}")
        for name in (error.get("names") or [])[:20]:
            err.print(f"  {escape(name)}")
