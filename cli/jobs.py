"""`carot jobs`: submit, list, show, watch, pause, resume, cancel, retry, priority, predictions."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

from carot.specs import KINDS
from cli.client import Client, Document
from cli.options import DEFAULT_URL, AsJson, Preset, SpecFile, Url
from cli.output import emit, fail, out, table, warn
from cli.progress import watch as draw
from cli.specs import read_document

app = typer.Typer(help="Jobs of the service.", no_args_is_help=True)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]


@app.command()
def submit(
    spec: SpecFile,
    name: Annotated[str | None, typer.Option(help="A name for display.")] = None,
    alias: Annotated[str | None, typer.Option(help="Alias for the job's checkpoint.")] = None,
    preset: Preset = None,
    queue: Annotated[str | None, typer.Option(help="Workers that may take it: cpu, gpu.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that train it together (GPUs).")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=-100, max=100, help="Higher goes first.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=1, help="How long it may run, all attempts together.")
    ] = None,
    follow: Annotated[bool, typer.Option("--watch", help="Stay until it ends.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check it, say what would be chosen; queue nothing."),
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Queue a run as a spec file says."""
    body = read_document(spec, preset)
    resources = body.get("resources", {}) | _given(queue=queue, processes=processes)
    body |= _given(name=name, alias=alias, priority=priority, max_seconds=max_seconds)
    body |= {"resources": resources} if resources else {}
    with Client(url) as client:
        if dry_run:
            _show_check(client.post("/jobs/check", body), as_json)
            return
        # Should the answer get lost, sending the same key again cannot make a second job.
        job = client.post("/jobs", body, key=uuid.uuid4().hex)
        if follow:
            job = draw(client, job["id"], job["name"] or job["id"])
    _show(job, as_json)
    _leave(job)


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help=f"One of {', '.join(KINDS)}.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """The jobs, newest first."""
    with Client(url) as client:
        jobs = client.pages("/jobs", limit=limit, state=state, kind=kind)
    if as_json:
        emit(jobs)
        return
    rows = [
        (
            j["id"],
            j["name"],
            j["state"],
            len(j["warnings"]) or None,
            _progress(j),
            j["method"] or j["kind"],
            j["dataset"],
        )
        for j in jobs
    ]
    out.print(
        table(None, ("id", "name", "state", ">warnings", ">progress", "method", "data set"), rows)
    )


@app.command()
def show(job: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """One job, with its report when it has one."""
    with Client(url) as client:
        document = client.get(f"/jobs/{job}")
        report = (
            client.get(f"/reports/{document['report_id']}")["document"]
            if document["report_id"] and not as_json
            else None
        )
    _show(document, as_json)
    if report is not None:
        from cli.tables import report_table

        out.print(report_table(report))


@app.command()
def watch(job: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Follow a job until it ends; the status is 1 unless it succeeds."""
    with Client(url) as client:
        title = client.get(f"/jobs/{job}")["name"] or job
        document = draw(client, job, title)
    _show(document, as_json)
    _leave(document)


@app.command()
def cancel(job: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Ask a job to stop for good."""
    with Client(url) as client:
        _show(client.post(f"/jobs/{job}/cancel"), as_json)


@app.command()
def pause(job: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Ask a job to snapshot and stop; `resume` lets it go on."""
    with Client(url) as client:
        _show(client.post(f"/jobs/{job}/pause"), as_json)


@app.command()
def resume(job: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Queue a paused job again; it goes on from its last snapshot."""
    with Client(url) as client:
        _show(client.post(f"/jobs/{job}/resume"), as_json)


@app.command()
def retry(job: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Queue a failed or cancelled job again; it goes on from its last snapshot, if it has one."""
    with Client(url) as client:
        _show(client.post(f"/jobs/{job}/retry"), as_json)


@app.command()
def priority(
    job: JobId,
    value: Annotated[int, typer.Argument(min=-100, max=100, metavar="PRIORITY")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a waiting job go before those of a lower priority (-100 to 100; use `--` before -1)."""
    with Client(url) as client:
        _show(client.patch(f"/jobs/{job}", {"priority": value}), as_json)


@app.command()
def predictions(
    job: JobId,
    output: Annotated[
        Path, typer.Option("--output", "-o", dir_okay=False, help="The Parquet file to write.")
    ],
    url: Url = DEFAULT_URL,
) -> None:
    """Download what a `predict` job has predicted."""
    with Client(url) as client:
        client.download(f"/jobs/{job}/predictions", output)
    out.print(f"predictions: {output}", highlight=False)


def _show(job: Document, as_json: bool) -> None:
    if as_json:
        emit(job)
        return
    fields = ("id", "name", "kind", "method", "dataset", "state", "attempts", "checkpoint_id")
    more = ("report_id", "alias", "priority", "retries", "not_responding_since")
    stays = any(each["code"] == "alias_not_moved" for each in job["warnings"])
    rows = [
        (field, f"{job[field]} (not moved)" if field == "alias" and stays else job[field])
        for field in (*fields, *more)
        if job[field]
    ]
    if job["error"]:
        rows.append(("error", job["error"].get("message")))
    elif job["last_exit"]:
        rows.append(("last exit", job["last_exit"]["message"]))
    out.print(table(None, ("", ""), rows))
    warn(job["warnings"])


def _show_check(found: Document, as_json: bool) -> None:
    if as_json:
        emit(found)
        return
    if found["spec"] is None:
        for each in found["errors"]:
            fail(f"{each['field']}: {each['message']}")
        raise typer.Exit(1)
    spec = found["spec"]
    rows = [(name, spec[name]) for name in ("kind", "dataset", "preset") if spec.get(name)]
    rows += list((spec.get("training") or {}).items())
    out.print(table("It would be queued as", ("", ""), rows))
    warn(found["warnings"])


def _given(**values: object) -> Document:
    return {name: value for name, value in values.items() if value is not None}


def _leave(job: Document) -> None:
    if job["state"] in ("failed", "cancelled"):
        raise typer.Exit(1)


def _progress(job: Document) -> str:
    progress = job["progress"] or {}
    step, total = progress.get("step"), progress.get("total_steps")
    if job["state"] in ("running", "pausing", "paused", "cancelling") and step and total:
        return f"{step / total:.0%}"
    return ""
