"""`carot workers` and `carot models compare` against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.app import create_app
from api.context import Context
from api.settings import ApiSettings
from carot.warnings import CodedWarning
from cli.client import Client
from cli.main import app
from cli.output import out
from store.jobs.jobs import create_job
from store.tables import DEFAULT_PROJECT
from tests.acceptance.harness import free_port
from tests.api.reports.stored_logits import Row, add_measured
from tests.api.rows import SPEC, add_worker
from tests.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """The parts of a service over a folder."""
    settings = ApiSettings(data_dir=tmp_path)
    state = create_app(settings).state
    context: Context = state.context
    context.database.upgrade()
    yield context
    state.datasets.close()
    state.predictions.close()
    context.database.close()


@pytest.fixture
def url(context: Context) -> Iterator[str]:
    """A server over the same folder."""
    port = str(free_port())
    folder = str(context.settings.data_dir)
    process = subprocess.Popen(
        [sys.executable, "-m", "api"],
        cwd=ROOT,
        env=os.environ | {"CAROT_DATA_DIR": folder, "CAROT_PORT": port},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            assert client.wait_until_ready(60)
        yield client.url
    finally:
        process.kill()
        process.wait(timeout=30)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "width", 250)  # known when it was made, from a terminal or none


def run(url: str, *arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--url", url])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_who_is_there(context: Context, url: str) -> None:
    add_worker(context, "carot-7@gpu-3")
    shown = run(url, "workers")
    assert "Test GPU (80.0 GiB)" in shown
    assert "idle" in shown
    assert json.loads(run(url, "workers", "--json"))[0]["host"] == "gpu-3"


def test_which_is_better(context: Context, url: str, tmp_path: Path) -> None:
    row, shifted = Row.of(), Row.of(seed=1, name="noise", shift="noise")
    worse = replace(row, logits=row.logits * 5)
    _, first = add_measured(context, tmp_path / "l", [row, shifted])
    _, second = add_measured(context, tmp_path / "l", [worse])
    shown = run(url, "models", "compare", first, second)
    [line] = [line for line in shown.splitlines() if second in line]
    assert "+0.0 [+0.0, +0.0] " in line
    assert line.count("*") == 3
    assert "noise: left out: not every one of the reports has it" in shown
    document = json.loads(run(url, "models", "compare", first, second, "--raw", "--json"))
    assert document["tests"] == 4


def test_an_alias_that_was_not_moved_is_no_alias_of_the_job(context: Context, url: str) -> None:
    with context.database.session() as session:
        moved = create_job(session, SPEC, project=DEFAULT_PROJECT, alias="digits").id
        job = create_job(session, SPEC, project=DEFAULT_PROJECT, alias="digits")
        said = CodedWarning(code="alias_not_moved", message="it is no better")
        job.warnings = [said.model_dump(mode="json")]
        stays = job.id
    assert "(not moved)" not in run(url, "jobs", "show", moved)
    assert "digits (not moved)" in run(url, "jobs", "show", stays)
