"""`carot webhooks` against a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.client import Client, ServiceError
from cli.output import out
from cli.webhooks import app
from tests.acceptance.harness import free_port
from tests.api.webhooks.receiver import receiver, until
from tests.paths import ROOT

pytestmark = pytest.mark.slow
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, _sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command of the group against a service of its own; gives what it prints."""
    shutil.copy(_sqlite_template, tmp_path / "carot.db")
    port = str(free_port())
    settings = {
        "CAROT_DATA_DIR": str(tmp_path),
        "CAROT_PORT": port,
        "CAROT_WEBHOOK_ALLOW": "127.0.0.1",
        "CAROT_WEBHOOK_POLL_SECONDS": "0.02",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "api"],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    monkeypatch.setattr(out, "width", 300)  # its own was taken when it was loaded

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--url", url])
        if done.exception is not None:
            raise done.exception
        return done.stdout

    try:
        with Client(url) as client:
            assert client.wait_until_ready(60)
        yield run
    finally:
        process.kill()
        process.wait(timeout=30)


def test_from_making_one_to_removing_it(run: Run) -> None:
    def document(*arguments: str) -> Any:
        return json.loads(run(*arguments, "--json"))

    with receiver() as running:
        url = f"http://127.0.0.1:{running.port}/hook"
        made = document("create", url, "--state", "failed", "--state", "succeeded")
        assert made["states"] == ["failed", "succeeded"]
        [listed] = document("list")
        assert listed["id"] == made["id"]
        assert "secret" not in listed
        sent = document("test", made["id"])
        [received] = running.wait_for(1)
        assert received.id == sent["id"]
        assert received.verified(made["secret"])["type"] == "webhook.test"
        until(lambda: document("deliveries", made["id"])[0]["state"] == "delivered")
    assert made["id"] in run("enable", made["id"])
    run("delete", made["id"])
    assert document("list") == []


def test_tables_for_people(run: Run) -> None:
    text = run("create", "http://127.0.0.1:9/")
    [secret] = [word for word in text.split() if word.startswith("whsec_")]
    [identity] = [word for word in text.split() if word.startswith("hook_")]
    listed = run("list")
    assert identity in listed
    assert secret not in listed
    assert "all" in listed
    assert run("test", identity).startswith("msg_")
    until(lambda: "no answer" in run("deliveries", identity))


def test_a_refusal_names_the_url(run: Run) -> None:
    with pytest.raises(ServiceError, match=r"url: '10.0.0.1' leads to an address"):
        run("create", "https://10.0.0.1/")
