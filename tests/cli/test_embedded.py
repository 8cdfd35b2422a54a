"""`carot up` as a person uses it: started, started twice, stopped, killed, started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.embedded import AGAIN
from tests.paths import ROOT

PATIENCE = 60.0

pytestmark = pytest.mark.acceptance


def command(data_dir: Path, *options: str) -> list[str]:
    up = [sys.executable, "-m", "cli", "up", "--port", "0", "--json", "--data-dir", str(data_dir)]
    return [*up, *options]


@contextmanager
def running(
    data_dir: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        command(data_dir, *options),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        yield process, json.loads("".join(lines))
    finally:
        process.kill()
        process.communicate()


def processes(data_dir: Path) -> list[int]:
    """Processes whose environment names this data folder."""
    wanted = f"CAROT_DATA_DIR={data_dir}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # it ended while we looked
            continue
    return found


def gone(data_dir: Path) -> bool:
    deadline = time.monotonic() + PATIENCE
    while processes(data_dir):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.timeout(300)
def test_started_twice_killed_started_again_and_stopped(tmp_path: Path) -> None:
    with running(tmp_path) as (process, told):
        second = subprocess.run(
            command(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert told["url"] in second.stderr.replace("\n", "")
        assert httpx.get(told["url"] + "/health/live", timeout=PATIENCE).status_code == 200
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        assert gone(tmp_path)
    with running(tmp_path) as (process, told):
        assert httpx.get(told["url"] + "/health/ready", timeout=PATIENCE).status_code == 200
        stop(process, tmp_path, signal.SIGINT)


@pytest.mark.timeout(300)
def test_a_worker_that_was_killed_is_started_again_until_it_ends_for_good(tmp_path: Path) -> None:
    with running(tmp_path) as (process, told):
        seen: set[int] = set()
        for _ in range(AGAIN + 1):
            assert httpx.get(told["url"] + "/health/live", timeout=PATIENCE).status_code == 200
            worker = next_worker(process.pid, seen)
            seen.add(worker)
            os.kill(worker, signal.SIGKILL)
        assert process.wait(PATIENCE) == 1
        assert gone(tmp_path)


def next_worker(parent: int, seen: set[int]) -> int:
    """The worker that is none of those seen."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in set(map(int, children)) - seen:
            # Between fork and exec it is still called as its parent is.
            if b"\0worker\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.05)
    raise AssertionError("no worker was started")


def test_with_a_key_it_listens_for_other_machines(tmp_path: Path) -> None:
    make = [sys.executable, "-m", "cli", "keys", "create", "--scope", "jobs:read"]
    done = subprocess.run(
        [*make, "--data-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    key = {"Authorization": f"Bearer {done.stdout.strip()}"}
    with running(tmp_path, "--host", "0.0.0.0") as (process, told):
        assert httpx.get(told["url"] + "/jobs", timeout=PATIENCE).status_code == 401
        assert httpx.get(told["url"] + "/jobs", headers=key, timeout=PATIENCE).status_code == 200
        stop(process, tmp_path, signal.SIGTERM)


def stop(process: subprocess.Popen[str], data_dir: Path, number: signal.Signals) -> None:
    """A signal ends everything cleanly."""
    assert len(processes(data_dir)) >= 2
    process.send_signal(number)
    assert process.wait(PATIENCE) == 0
    assert gone(data_dir)
