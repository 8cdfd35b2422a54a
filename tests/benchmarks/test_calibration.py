"""The comparison with other libraries runs without them, and its own oracles are right."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.calibration import draw, exact_ece, exact_temperature, targets
from benchmarks.calibration_contenders import CONTENDERS, Contender, Data
from tests.paths import ROOT


def test_the_exact_values_are_exact() -> None:
    data = draw(300, 5)
    z = data.logits_NC.astype(float)
    total: dict[int, float] = {}
    for row, label in zip(z, data.labels_N.tolist(), strict=True):
        confidence = 1 / math.fsum(math.exp(v - max(row)) for v in row)
        place = min(14, math.ceil(confidence * 15) - 1)
        total[place] = total.get(place, 0.0) + (int(row.argmax()) == label) - confidence
    expected = math.fsum(map(abs, total.values())) / 300
    assert exact_ece(data) == pytest.approx(expected, abs=1e-12)
    best = exact_temperature(data)

    def loss(temperature: float) -> float:
        p = np.exp((z - z.max(1, keepdims=True)) / temperature)
        return -float(np.log(p[range(300), data.labels_N] / p.sum(1)).mean())

    assert loss(best) < min(loss(best * 0.999), loss(best * 1.001))
    ours = {each.task: each for each in CONTENDERS if each.name == "carot"}
    assert ours["ece"].run(data) == pytest.approx(expected, abs=1e-12)
    assert ours["temperature"].run(data) == pytest.approx(best, rel=1e-9)


def test_a_library_that_is_not_there_is_named() -> None:
    def absent(data: Data) -> float:
        import no_such_library  # type: ignore[import-not-found]  # noqa: F401

        return 0.0

    assert "no_such_library" in str(Contender("ece", "absent", absent).missing())
    assert Contender("ece", "none", None, "has no ECE").missing() == "has no ECE"


def test_targets_compare_with_the_fastest() -> None:
    rows: list[dict[str, Any]] = [
        {"task": "ece", "name": "carot", "wall_s": 1.0, "extra_mib": 1.0, "error": 0.0},
        {"task": "ece", "name": "slow", "wall_s": 9.0, "extra_mib": 2.0, "error": 0.0},
        {"task": "ece", "name": "fast", "wall_s": 2.0, "extra_mib": 50.0, "error": 0.0},
        {"task": "ece", "name": "absent", "missing": "not installed"},
        {"task": "temperature", "name": "carot", "wall_s": 1.0, "extra_mib": 1.0, "error": 0.0},
        {"task": "temperature", "name": "scikit-learn", "wall_s": 5.0, "extra_mib": 1, "error": 0},
    ]
    found = targets(rows)
    assert (found["fastest_ece"], found["ece_time_ratio"]) == ("fast", 0.5)
    assert (found["ece_memory_ratio"], found["ece_memory_ratio_to_least"]) == (0.02, 0.5)
    assert found["temperature_times_faster_than_scikit_learn"] == 5.0
    alone = targets([rows[0], rows[4]])
    assert alone["fastest_ece"] is None
    assert alone["temperature_times_faster_than_scikit_learn"] is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["calibration", "calibrators", "shift_score"])
def test_benchmarks_run(name: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    program = [sys.executable, f"benchmarks/{name}.py", "--quick", "--json", str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        program, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    document = json.loads(path.read_text(encoding="utf-8"))
    if name == "calibration":
        rows = {(row["task"], row["name"]): row for row in document["rows"]}
        assert rows["ece", "carot"]["error"] < 1e-12
        assert rows["temperature", "carot"]["error"] < 1e-9
        assert "torchmetrics" in done.stdout
    elif name == "calibrators":
        assert set(document["datasets"]) == {"test", "noise-3"}
        assert "ECE by calibrator" in done.stdout
    else:
        assert document["auroc"]["Mahalanobis"]["inverted"] > 0.9
        assert "Mahalanobis" in done.stdout
