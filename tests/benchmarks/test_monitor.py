"""The monitor's benchmark watches what the service computes, and counts alarms rightly."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.monitor import delay, main
from benchmarks.monitor_answers import Answers, demo_run
from benchmarks.monitor_page import PAGE, alarms, delays, filled, recalibration
from benchmarks.monitor_streams import (
    STAKES,
    ConstantStakes,
    OurTest,
    Pool,
    RepeatedTest,
    first_alarms,
)
from benchmarks.provenance import RESULTS
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.monitoring.e_process import EProcess

EDGES = (0.7, 0.9)
TABLES = (alarms, delays, recalibration)


class Recorder(OurTest):
    """Keeps what it saw of the first stream."""

    seen: list[tuple[int, bool]]

    def __init__(self, confidence_P, edges, streams) -> None:
        super().__init__(confidence_P, edges, streams)
        type(self).seen = []

    def see(self, answer_R, right_R, labels):
        assert labels == len(self.seen)
        self.seen.append((int(answer_R[0]), bool(right_R[0])))
        return super().see(answer_R, right_R, labels)


def test_the_streams_are_watched_as_the_service_watches() -> None:
    rng = np.random.default_rng(1)
    calm = Pool(rng.random(40), np.zeros(40))
    calm = Pool(calm.confidence_P, calm.confidence_P)
    wrong = Pool(np.array([0.95, 0.5, 1.0]), np.array([1.0, 0.0, 0.0]))
    first = first_alarms([(calm, 60), (wrong, 60)], EDGES, streams=3, seed=2, watchers=(Recorder,))[
        "e_process"
    ]
    confidence = np.concatenate((calm.confidence_P, wrong.confidence_P))
    state, alarm = EProcess.fresh(), 0
    for labels, (answer, right) in enumerate(Recorder.seen, start=1):
        assert (answer >= 40) == (labels > 60)
        state = state.update(confidence[answer], right)
        alarm = alarm or (labels if state.rejects() else 0)
    assert alarm == first[0] > 0


def test_the_others_are_what_they_are_called() -> None:
    pool = np.array([0.9, 0.6])
    constant, repeated = ConstantStakes(pool, EDGES, 1), RepeatedTest(pool, EDGES, 1)
    wealth = [1.0] * 10
    stakes = [sign * stake for stake in STAKES for sign in (-1, 1)]
    excess = variance = 0.0
    rng = np.random.default_rng(3)
    for t in range(300):
        answer, right = int(rng.integers(2)), bool(rng.random() < 0.65)
        wealth = [
            w * (1 + stake * (right - pool[answer]))
            for w, stake in zip(wealth, stakes, strict=True)
        ]
        excess += right - pool[answer]
        variance += pool[answer] * (1 - pool[answer])
        ours = constant.see(np.array([answer]), np.array([right]), t)
        assert bool(ours[0]) == (sum(wealth) / 10 >= 20)
        looked = repeated.see(np.array([answer]), np.array([right]), t)
        expected = (t + 1) % 100 == 0 and abs(excess) > 1.959964 * math.sqrt(variance)
        assert bool(looked[0]) == expected


def test_delays_count_from_the_change() -> None:
    found = delay(np.array([0, 30, 110, 120, 150]), 100, 20)
    share = pytest.approx(0.2)
    assert found == {"median": 50, "never": 0.25, "at_once": 0.5, "before": share}
    none = delay(np.array([0, 0, 5]), 0, 4)
    assert none["median"] is None
    assert none["never"] == pytest.approx(2 / 3)
    assert none["at_once"] == 0
    assert delay(np.array([5, 7]), 100, 10)["median"] is None


def test_answers_are_over_the_temperature() -> None:
    logits, labels = torch.randn(50, 4), torch.randint(4, (50,))
    calibrator = fit_temperature(logits, labels)
    answers = Answers.of(logits, labels, calibrator)
    expected = (logits.double() / calibrator.temperature).softmax(1).amax(1)
    assert answers.confidence_N == pytest.approx(expected.numpy())
    assert answers.correct_N.tolist() == (logits.argmax(1) == labels).tolist()
    assert answers.part(slice(0, 10)).measured().labels == 10


def test_the_demo_is_what_is_trained() -> None:
    assert demo_run(None).epochs == 15
    assert demo_run(None).method["name"] == "carot"


def test_the_page_holds_what_was_measured() -> None:
    document = json.loads((RESULTS / "monitor.json").read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, document) == page
    assert page.count("<!-- end -->") == 3
    assert all("\n".join(each(document["models"])) in page for each in TABLES)


def test_the_promise_was_kept() -> None:
    document = json.loads((RESULTS / "monitor.json").read_text(encoding="utf-8"))
    for model in document["models"].values():
        assert model["false_alarms"]["streams"] >= 300
        assert model["false_alarms"]["labels"] >= 20_000
        assert model["false_alarms"]["rates"]["e_process"]["share"] <= document["alpha"]


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    main(["--quick", "--folder", str(tmp_path), "--json", str(tmp_path / "out.json")])
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert set(found["models"]) == {"zero_shot", "fine_tuned"}
    for model in found["models"].values():
        assert len(model["delays"]) == 22
        assert model["false_alarms"]["rates"]["e_process"]["share"] <= 0.3
        assert len(model["recalibration"]["sets"]) == 8
