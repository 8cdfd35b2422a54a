"""The checks themselves: what is right passes, and each kind of wrong is seen."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from store.jobs.states import JobState
from store.tables import Checkpoint, Job, JobEvent, Report
from tests.acceptance.chaos.audit import Entry, intruders
from tests.acceptance.chaos.batch import Order
from tests.acceptance.chaos.invariants import (
    Record,
    curves_are_whole,
    ended_rightly,
    events_are_numbered,
    results_are_single,
    states_alternate,
)
from tests.acceptance.chaos.material import STEPS, WEIGHTS, differing

JOB = "job_1"
CLAIM = ("w1", "job_events", 1, "state:claim")
LIFE = [
    ("api", "job_events", 0, "state:"),
    CLAIM,
    ("w1", "job_events", 1, "phase_started:"),
    ("w1", "job_metrics", 1, ""),
    ("w1", "artifacts", 1, "1"),
    ("w1", "job_events", 1, "snapshot_saved:"),
    ("api", "job_events", 1, "not_responding:"),
    ("w2", "job_events", 1, "state:requeue:lost"),
    ("w2", "job_events", 2, "state:claim"),
    ("w2", "job_metrics", 2, ""),
    ("api", "job_events", 2, "state:ask_to_pause"),
    ("w2", "artifacts", 2, "2"),
    ("w2", "checkpoints", 2, ""),
    ("w2", "reports", 2, ""),
    ("w2", "job_events", 2, "state:succeed"),
]


def log(*rows: tuple[str, str, int, str]) -> list[Entry]:
    return [Entry(writer, table, JOB, fence, what) for writer, table, fence, what in rows]


def test_a_life_with_two_workers_has_no_intruder() -> None:
    assert intruders(log(*LIFE)) == []


@pytest.mark.parametrize(
    "rows",
    [
        [*LIFE[:9], ("w1", "job_metrics", 2, "")],
        [*LIFE[:8], ("w1", "job_events", 1, "phase_started:")],
        [*LIFE[:9], ("w1", "job_events", 2, "state:succeed")],
        [*LIFE, ("w2", "reports", 2, "")],
        [*LIFE[:9], ("w2", "artifacts", 2, "1")],
        [*LIFE[:8], ("w2", "job_events", 1, "state:claim")],
    ],
    ids=["metric", "after-requeue", "success", "after-the-end", "old-artifact", "same-fence"],
)
def test_a_zombie_is_seen(rows: Sequence[tuple[str, str, int, str]]) -> None:
    assert len(intruders(log(*rows))) == 1


def job(**values: object) -> Job:
    given = {"id": JOB, "kind": "finetune", "state": JobState.SUCCEEDED, "fence": 1, "event_seq": 3}
    return Job(**given | {"finished_at": 1, "report_id": "rep", "checkpoint_id": "ckpt"} | values)


def events(*moves: tuple[str, str | None, int]) -> list[JobEvent]:
    return [
        JobEvent(seq=seq, type="state", data={"state": to, "transition": way, "fence": fence})
        for seq, (to, way, fence) in enumerate(moves, start=1)
    ]


RIGHT = (("queued", None, 0), ("running", "claim", 1), ("succeeded", "succeed", 1))


def test_lawful_states_pass() -> None:
    assert states_alternate(job(), events(*RIGHT)) == []
    assert events_are_numbered(job(), events(*RIGHT)) == []


@pytest.mark.parametrize(
    "moves",
    [
        (RIGHT[0], RIGHT[2]),
        (*RIGHT, RIGHT[2]),
        (RIGHT[0], ("running", "claim", 2), RIGHT[2]),
        (*RIGHT[:2], ("running", "take_over", 1), RIGHT[2]),
        RIGHT[:2],
    ],
    ids=["unclaimed", "twice", "skipped-fence", "same-fence", "unfinished"],
)
def test_unlawful_states_are_seen(moves: Sequence[tuple[str, str | None, int]]) -> None:
    assert states_alternate(job(), events(*moves))


@pytest.mark.parametrize("seqs", [(1, 2), (1, 3), (1, 2, 2), (0, 1, 2), (1, 2, 3, 4)])
def test_gaps_and_repeats_are_seen(seqs: Sequence[int]) -> None:
    assert events_are_numbered(job(), [JobEvent(seq=seq) for seq in seqs])


def record(found: Job, checkpoints: int = 1, reports: int = 1, *moves: str) -> Record:
    told = [JobEvent(type="state", data={"transition": way}) for way in moves]
    return Record(
        {JOB: found}, {JOB: told}, {JOB: [Checkpoint(id="ckpt")] * checkpoints},
        {JOB: [Report(id="rep")] * reports}, {}, [],
    )  # fmt: skip


def test_results_of_a_success_are_one_each() -> None:
    assert results_are_single(job(), record(job())) == []
    measured = job(kind="evaluate", checkpoint_id=None)
    assert results_are_single(measured, record(measured, 0)) == []


@pytest.mark.parametrize(
    ("found", "checkpoints", "reports"),
    [
        (job(), 2, 1),
        (job(), 1, 0),
        (job(), 1, 2),
        (job(state="failed", report_id=None, checkpoint_id=None), 1, 0),
        (job(checkpoint_id="another"), 1, 1),
    ],
)
def test_results_too_many_or_missing_are_seen(found: Job, checkpoints: int, reports: int) -> None:
    assert results_are_single(found, record(found, checkpoints, reports))


def test_right_ends_pass() -> None:
    assert ended_rightly(Order("a", {}, id=JOB), record(job())) == []
    cancelled = Order("a", {}, state="cancelled", id=JOB)
    assert ended_rightly(cancelled, record(job())) == [], "it came too late"
    stopped = record(job(state="cancelled"), 0, 0, "ask_to_cancel")
    assert ended_rightly(cancelled, stopped) == []


@pytest.mark.parametrize(
    ("order", "found"),
    [
        (Order("a", {}), record(job())),
        (Order("a", {}, id=JOB), record(job(state="failed", error={"code": "x", "message": "y"}))),
        (Order("a", {}, id=JOB), record(job(state="running"))),
        (Order("a", {}, id=JOB), record(job(worker="w1"))),
        (Order("a", {}, state="cancelled", id=JOB), record(job(), 1, 1, "ask_to_cancel")),
        (
            Order("a", {}, state="failed", code="torn", id=JOB),
            record(job(state="failed", error={"code": "signal", "message": "y"})),
        ),
        (
            Order("a", {}, state="failed", code="torn", id=JOB),
            record(job(state="failed", error={"code": "torn", "message": ""})),
        ),
    ],
    ids=["unaccepted", "failed", "running", "held", "ignored-cancel", "other-code", "no-reason"],
)
def test_wrong_ends_are_seen(order: Order, found: Record) -> None:
    assert ended_rightly(order, found)


def test_steps_that_no_curve_has_are_seen() -> None:
    assert curves_are_whole(job(), range(1, STEPS + 1)) == []
    assert curves_are_whole(job(), [s for s in range(1, STEPS + 1) if s != 41])
    assert curves_are_whole(job(state="failed"), []) == []


def test_one_bit_of_one_tensor_is_seen(tmp_path: Path) -> None:
    reference, ours = tmp_path / "reference", tmp_path / "ours"
    reference.mkdir()
    for file in WEIGHTS:
        save_file({"a": np.ones(3, np.float32), "b": np.zeros(2, np.float32)}, reference / file)
    shutil.copytree(reference, ours)
    assert differing(ours, reference) == []
    tensors = load_file(ours / WEIGHTS[0])
    tensors["b"][1] = -0.0  # equal as a number
    save_file(tensors, ours / WEIGHTS[0])
    assert differing(ours, reference) == [f"{WEIGHTS[0]}:b"]
