"""One fault over one batch, and its row of the table."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cli.client import Document
from tests.acceptance.chaos.batch import NO_SPACE, Batch
from tests.acceptance.chaos.faults import (
    Everything,
    Fault,
    FullDisk,
    KilledTrainer,
    Nothing,
    Recoveries,
)
from tests.acceptance.chaos.invariants import check, scratch_is_clean
from tests.acceptance.chaos.material import SPECS
from tests.acceptance.chaos.world import FEW_ATTEMPTS, World

PATIENCE = 60.0
SECONDS_PER_JOB = {"deployed": 3.2, "embedded": 5.5}
"""About what a batch takes for each of its jobs, on two cores."""
MORE_JOBS = 2
"""At once, when a batch is over before the strikes are: one of them may be cancelled early."""
REFUSED = "job_taken_away"
"""What the log of a worker says that found itself replaced."""


@dataclass
class Row:
    """What came of a trial.

    Attributes:
        times: injections.
        lost: jobs that did not end as they should.
        duplicated: jobs, results or writers there are two of.
        recover_seconds: mean time from an injection to the next progress of what it hit.
        attempts: of all jobs together.
        refused: writers from the past that were told so.
        retried: tries that a person had to ask for.
        no_space: events that tell of a full disk.
        wrong: everything that should not be, one line each.
    """

    fault: str
    world: str
    seed: int
    times: int
    jobs: int
    lost: int
    duplicated: int
    recover_seconds: float | None
    seconds: float
    attempts: int
    refused: int
    retried: int
    no_space: int
    wrong: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As it is written down."""
        return asdict(self)


def run(
    world: World,
    fault: Fault,
    *,
    seed: int,
    jobs: int,
    times: int | None = None,
    insist: bool = False,
) -> Row:
    """Let `fault` strike while a batch runs, then check everything.

    Args:
        times: strikes at most; by default as many as the fault wants in so many jobs.
        insist: on all of these strikes, with more jobs where the batch is over before.
    """
    # The same moments and targets for the same seed, fault and world, as far as the moments of the
    # processes allow.
    rng = random.Random(f"{seed} {fault.name} {world.kind}")
    wanted = max(1, round(fault.often * jobs / 30)) if times is None else times
    wanted = 0 if isinstance(fault, Nothing) else wanted
    pace = SECONDS_PER_JOB[world.kind]
    prefix = f"{fault.name} {seed}".replace(" ", "-")
    batch = Batch(world, prefix, rng)
    refused, no_space = _refusals(world), world.count_events("no space")
    recoveries = Recoveries()
    began = time.monotonic()
    fault.begin(world)
    try:
        batch.start(jobs, pace)
        more = MORE_JOBS if insist else 0
        struck = _strike(world, fault, batch, recoveries, rng, wanted, pace * jobs, more)
        _await(world, batch, fault)
    finally:
        fault.end(world)
    seconds = time.monotonic() - began
    _settle(world)
    lost, twice, wrong = check(world, batch)
    wrong += [f"{what} did not recover in {PATIENCE:.0f} s" for what in recoveries.lasting]
    found = world.jobs()
    wrong += scratch_is_clean(_scratch(world), lambda name: False)
    return Row(
        fault=fault.name, world=world.kind, seed=seed, times=struck, jobs=len(batch.orders),
        lost=len(lost), duplicated=len(twice),
        recover_seconds=statistics.fmean(recoveries.seconds) if recoveries.seconds else None,
        seconds=seconds, attempts=sum(found[i].fence for i in batch.ids),
        refused=_refusals(world) - refused, retried=sum(o.retried for o in batch.orders),
        no_space=world.count_events("no space") - no_space,
        wrong=[*lost, *twice, *wrong],
    )  # fmt: skip


def exhaust(world: World, seed: int) -> Document:
    """A job whose every trainer is killed, submitted where jobs have few attempts; how it ended."""
    rng = random.Random(seed)
    body = {"kind": "finetune", "name": f"exhausted {seed}", "dataset": world.good,
            "model": {"checkpoint": world.model}, **SPECS["carot"]}  # fmt: skip
    with world.second_client() as client:
        job = client.post("/jobs", body)
        fault, recoveries = KilledTrainer(), Recoveries()
        for _ in range(FEW_ATTEMPTS):
            strike = None
            while strike is None:
                strike = fault.strike(world, rng)
                time.sleep(0.05)
            recoveries.watch(strike, PATIENCE)
        assert not recoveries.lasting
        return world.await_end(job)


def _strike(
    world: World,
    fault: Fault,
    batch: Batch,
    recoveries: Recoveries,
    rng: random.Random,
    wanted: int,
    expected_seconds: float,
    more: int,
) -> int:
    """Strike at random moments until there were enough, or nothing more is to run; how often."""
    struck = strikes = 0
    # A strike takes about as long as the gap before it.
    gap = expected_seconds / (wanted + 1) / 2 if wanted else 0.0
    due = time.monotonic() + rng.uniform(0.5, 0.5 + gap)
    while strikes < wanted:
        if batch.is_over():
            if not more:
                break
            batch.start(more)
        world.check()
        if time.monotonic() >= due and (strike := fault.strike(world, rng)) is not None:
            recoveries.watch(strike, PATIENCE)
            struck += strike.times
            strikes += 1
            due = time.monotonic() + rng.expovariate(1 / gap)
        time.sleep(0.05)
    return struck


def _await(world: World, batch: Batch, fault: Fault) -> None:
    deadline = time.monotonic() + 60 + 20 * len(batch.orders)
    while True:
        while not batch.is_over():
            world.check()
            assert time.monotonic() < deadline, f"the batch does not end\n{world.logs()}"
            time.sleep(0.1)
        # A disk without room ends a job with that reason; once there is room people try again.
        if not (isinstance(fault, FullDisk | Everything) and batch.retry(NO_SPACE)):
            return


def _settle(world: World) -> None:
    """Let workers find that nothing is left to do, and clean up."""
    deadline = time.monotonic() + 15
    while any(world.trainers(worker) for worker in world.workers) or any(
        list(folder.glob("job_*")) for folder in _scratch(world)
    ):
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


def _scratch(world: World) -> list[Path]:
    own = [world.folder / f"{worker}-data" / "scratch" for worker in world.workers]
    return [*own, world.settings.data_dir / "scratch"]


def _refusals(world: World) -> int:
    logs = [world.folder / f"{worker}.log" for worker in world.workers]
    return sum(log.read_text(errors="replace").count(REFUSED) for log in logs if log.exists())
