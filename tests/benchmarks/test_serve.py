"""benchmarks/serve.py: its arithmetic, what its clients send, and a whole run without LitServe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.provenance import ROOT
from benchmarks.serve import median_ratio
from benchmarks.serve_load import Figures, alone, figures, form, together


def test_figures() -> None:
    seconds = [0.001 * n for n in range(1, 102)]
    found = figures(list(reversed(seconds)), whole=2.0)
    assert found.images_per_second == pytest.approx(50.5)
    assert found.p50 == pytest.approx(51)
    assert found.p99 == pytest.approx(100)
    assert figures([0.5], whole=0.5) == pytest.approx((2.0, 500, 500))


def test_ratios_are_taken_within_rounds() -> None:
    mine = [Figures(10, 1, 1), Figures(100, 1, 1), Figures(30, 1, 1)]
    others = [Figures(10, 1, 2), Figures(50, 1, 2), Figures(10, 1, 2)]
    assert median_ratio(mine, others) == 2.0
    assert median_ratio(mine, others, "p99") == 0.5


def test_loops_answer_every_image() -> None:
    asked: list[bytes] = []
    images = [b"a", b"b", b"c"]
    alone(asked.append, images, 4)
    assert asked == [b"a", b"b", b"c", b"a"]
    batches: list[list[bytes]] = []
    together(lambda contents: batches.append(list(contents)), images, 2, 5)
    assert batches == [[b"a", b"b"], [b"c", b"a"], [b"b"]]


def test_a_form_is_a_whole_request() -> None:
    request = form(b"\xff\xd8pixels", "images", {"model": "m"}, {"Authorization": "Bearer k"})
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /predict HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"\xff\xd8pixels" in body


@pytest.mark.slow
def test_a_run(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    arguments = ["--models", "carot-mini", "--clients", "1", "8", "--rounds", "1", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "benchmarks/serve.py", *arguments, "--json", str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(path.read_text(encoding="utf-8"))["models"]["carot-mini"]
    assert [row["clients"] for row in rows] == [1, 8]
    for row in rows:
        medians = row["medians"]
        least = {"endpoint"} if row["clients"] == 1 else set()
        assert set(medians) == {"bare", "service"} | least
        assert ("endpoint_added_p50_milliseconds" in row) is bool(least)
        ratio = medians["service"]["images_per_second"] / medians["bare"]["images_per_second"]
        assert row["throughput_to_bare"] == pytest.approx(ratio, rel=0.01)
        assert "litserve" not in row
