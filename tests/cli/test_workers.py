"""`carot workers` against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.client import Client
from cli.main import app
from store.database import Database
from store.workers import Presence
from tests.acceptance.harness import free_port

pytestmark = pytest.mark.slow


def test_who_is_there(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'carot.db'}")
    database.upgrade()
    gpu = {"name": "Test GPU", "memory_bytes": 80 << 30}
    Presence("carot-7@gpu-3", "gpu-3", 7, ("gpu",), [gpu], "1.2", 60.0).beat(database)
    database.close()
    port = str(free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "api"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"CAROT_DATA_DIR": str(tmp_path), "CAROT_PORT": port},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        with Client(url) as client:
            assert client.wait_until_ready(60)
        environment = {"COLUMNS": "200"}
        shown = CliRunner().invoke(app, ["workers", "--url", url], env=environment)
        assert "Test GPU (80.0 GiB)" in shown.stdout, shown.stderr
        assert "idle" in shown.stdout
        listed = CliRunner().invoke(app, ["workers", "--url", url, "--json"]).stdout
        assert json.loads(listed)[0]["host"] == "gpu-3"
    finally:
        process.kill()
        process.wait(timeout=30)
