"""Threads by the cores that are really there, which wait without spinning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from carot.threads import PASSIVE, available_cores, with_threads

CORES = len(os.sched_getaffinity(0))


def group(folder: Path, text: str) -> Path:
    (folder / "cpu.max").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", CORES), ("50000 100000", 1), ("100000 100000", 1), ("99999999 100000", CORES)],
)
def test_cores_by_the_quota(tmp_path: Path, text: str, cores: int) -> None:
    assert available_cores(group(tmp_path, text)) == cores


def test_a_quota_of_the_older_kind(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(tmp_path) == 1
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores(tmp_path) == CORES


def test_no_control_group_is_no_limit(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "nowhere") == CORES
    assert "OMP_NUM_THREADS" not in with_threads({}, tmp_path)


def test_what_is_said_stays(tmp_path: Path) -> None:
    said = {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "7", "HOME": "/"}
    made = with_threads(said, group(tmp_path, "50000 100000"))
    assert made == PASSIVE | said
    assert with_threads({}, tmp_path)["OMP_NUM_THREADS"] == "1"


STEPS = """
import time, torch
images_NCHW = torch.randn(64, 3, 32, 32)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 64, 4, 4), torch.nn.Flatten(), torch.nn.Linear(4096, 256),
    torch.nn.GELU(), torch.nn.Linear(256, 256))
def step():
    model.zero_grad()
    model(images_NCHW).square().mean().backward()
for _ in range(20): step()
began = time.process_time()
for _ in range(100): step()
print((time.process_time() - began) / 100)
"""


def processor_seconds(environment: dict[str, str]) -> float:
    """Of one step of a small model, in a process of its own."""
    program = [sys.executable, "-c", STEPS]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(CORES < 2, reason="threads wait for each other where there are several cores")
def test_beside_a_busy_process_a_step_takes_little_more_processor_time(tmp_path: Path) -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(CORES)]
    try:
        alone = processor_seconds(plain | {"OMP_NUM_THREADS": "1"})
        together = processor_seconds(with_threads(plain, tmp_path) | {"OMP_NUM_THREADS": "2"})
    finally:
        for process in busy:
            process.kill()
            process.wait()
    # Threads that spin take 3 to 15 times as much.
    assert together < 2.5 * alone
