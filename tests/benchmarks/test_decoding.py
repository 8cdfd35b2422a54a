"""The benchmark of decoding runs as its docstring says, and refuses to compare unlike results."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import decoding
from tests.paths import ROOT

pytestmark = pytest.mark.slow


def test_it_prints_a_table_and_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "decoding.json"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "benchmarks/decoding.py", "--rounds", "5", "--json", str(path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    document = json.loads(path.read_text(encoding="utf-8"))
    assert len(document["images"]) == len(decoding.CASES)
    for row in document["images"]:
        assert row["image"] in done.stdout
        assert set(row["milliseconds"]) == set(decoding.WAYS)
        times = row["milliseconds"]
        assert row["added"] == pytest.approx(times["child, fitted"] - times["thread"], abs=2e-3)


def test_ways_that_differ_are_no_benchmark() -> None:
    async def zeros(_: bytes) -> torch.Tensor:
        return torch.zeros(3)

    async def ones(_: bytes) -> torch.Tensor:
        return torch.ones(3)

    ways: dict[str, decoding.Way] = {"thread": zeros, "child, fitted": ones}
    with pytest.raises(SystemExit, match="another tensor"):
        asyncio.run(decoding.measure(("PNG", 8, 8, 1), ways, 1))
