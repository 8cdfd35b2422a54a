"""What goes wrong, and how its end is seen. Each fault strikes at random moments of a batch."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from store.jobs.states import HELD, TERMINAL, JobState
from store.tables import Job
from tests.acceptance.chaos.world import API, LEASE_SECONDS, Deployed, World

EVERYWHERE = ("deployed", "embedded")
SMALLEST, LARGEST = 1 << 16, 2 << 20  # bytes that a file may have while the disk is "full"
LONGEST_SLEEP = 15.0  # seconds that a worker is stopped while nobody takes its job
LONGEST_FULL = 8.0  # seconds that a disk stays full when nobody notices


@dataclass(frozen=True)
class Strike:
    """One injection.

    Attributes:
        what: was hit, for people.
        began: when, by the monotonic clock.
        is_over: whether what was hit makes progress again.
        times: how many injections it counts for.
    """

    what: str
    began: float
    is_over: Callable[[], bool]
    times: int = 1


class Fault:
    """Something that goes wrong. Subclasses hit the world and say when it has recovered.

    Attributes:
        name: as in the table.
        worlds: where it can happen.
        often: how many strikes a batch of 30 jobs gets.
    """

    name = ""
    worlds: tuple[str, ...] = EVERYWHERE
    often = 8

    def begin(self, world: World) -> None:
        """Before the batch."""

    def end(self, world: World) -> None:
        """After the batch, before anything is checked."""

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        """Break something and mend it; None when there is nothing to hit just now."""
        raise NotImplementedError


class Nothing(Fault):
    """The batch as it is without faults."""

    name = "none"
    often = 0


class KilledTrainer(Fault):
    """SIGKILL to a trainer, as from a kernel without memory."""

    name = "kill -9 trainer"

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        trainers = [each for worker in world.workers for each in world.trainers(worker)]
        if not trainers:
            return None
        pid, job_id, fence = rng.choice(trainers)
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return Strike(job_id, began, _moved_on(world, {job_id: fence}))


class KilledWorker(Fault):
    """SIGKILL to a worker in the midst of a job; something starts it again."""

    name = "kill -9 worker"

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        worker, held = _busy(world, rng)
        if worker is None:
            return None
        began = time.monotonic()
        world.kill(worker)
        time.sleep(rng.uniform(0.1, 1.0))
        world.restart(worker)
        return Strike(worker, began, _moved_on(world, held))


class KilledApi(Fault):
    """SIGKILL to the API, whatever it is answering; something starts it again."""

    name = "kill -9 api"
    often = 6

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        began = time.monotonic()
        world.kill(API)
        time.sleep(rng.uniform(0.1, 1.0))
        world.restart(API)
        return Strike(API, began, lambda: world.client.wait_until_ready(0.05))


class Frozen(Fault):
    """SIGSTOP for longer than the lease, then SIGCONT: a writer from the past.

    Half the time the trainer sleeps too, as when a whole machine is suspended.
    """

    name = "SIGSTOP past lease"
    often = 6

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        worker, held = _busy(world, rng)
        if worker is None:
            return None
        sleepers = [world.processes[worker].pid]
        if rng.random() < 0.5:
            sleepers += [pid for pid, _, _ in world.trainers(worker)]
        began = time.monotonic()
        for pid in sleepers:
            os.kill(pid, signal.SIGSTOP)
        if _moved_on(world, held)():  # it ended its job in the last moment
            _awake(sleepers)
            return None
        time.sleep(LEASE_SECONDS + rng.uniform(1.0, 2.0))
        if len(world.workers) > 1:  # the fence is put to the test once somebody else has the job
            taken = _moved_on(world, held)
            while not taken() and time.monotonic() - began < LONGEST_SLEEP:
                time.sleep(0.05)
            time.sleep(rng.uniform(0.0, 1.5))
        _awake(sleepers)
        return Strike(worker, began, _moved_on(world, held))


class EmptyRedis(Fault):
    """The broker is killed and comes back without any message."""

    name = "redis lost"
    worlds = ("deployed",)

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        assert isinstance(world, Deployed)
        began = time.monotonic()
        world.redis.kill()
        time.sleep(rng.uniform(0.1, 2.0))
        world.redis.start_again()
        return Strike("redis", began, _nobody_waits(world))


class RestartedPostgres(Fault):
    """The database stops at once, without a word to anybody, and recovers."""

    name = "postgres restarted"
    worlds = ("deployed",)

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        assert isinstance(world, Deployed)
        before = world.jobs()
        began = time.monotonic()
        world.postgres.kill()
        time.sleep(rng.uniform(0.1, 2.0))
        world.postgres.start_again()
        return Strike("postgres", began, _any_write(world, before))


class LostMessages(Fault):
    """Messages are dropped, duplicated and held back until later ones have passed."""

    name = "messages d/d/r"

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        times = world.meddle(rng.uniform(1.0, 4.0))
        began = time.monotonic()
        return Strike("messages", began, _nobody_waits(world), times) if times else None


class FullDisk(Fault):
    """No file of a worker and its trainer can grow past a limit: EFBIG from the kernel.

    Unlike a full volume this needs no privilege; the service takes both errors for the same.
    """

    name = "disk full"
    often = 6

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        worker, held = _busy(world, rng)
        if worker is None:
            return None
        process = world.processes[worker]
        limit = rng.randint(SMALLEST, LARGEST)
        began = time.monotonic()
        pids = [process.pid, *(pid for pid, _, _ in world.trainers(worker))]
        before = [_limit_files(pid, limit) for pid in pids]
        noticed = world.count_events("no space")
        time.sleep(rng.uniform(1.5, 4.0))
        while time.monotonic() - began < LONGEST_FULL and world.count_events("no space") == noticed:
            time.sleep(0.1)
        free = before[0] if before[0] is not None else resource.RLIM_INFINITY
        for pid in [*pids, *(pid for pid, _, _ in world.trainers(worker))]:
            _limit_files(pid, free)
        return Strike(worker, began, _any_write(world, world.jobs(), held))


class TwoSweepers(Fault):
    """Two more sweepers, which never rest, while workers die and leave them something to do."""

    name = "two sweepers"
    often = 6
    sweepers = ("sweeper1", "sweeper2")

    def begin(self, world: World) -> None:
        for name in self.sweepers:
            world.start(name, "tests.acceptance.chaos.sweeping")

    def end(self, world: World) -> None:
        for name in self.sweepers:
            world.end(name)

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        return KilledWorker().strike(world, rng)


class Everything(Fault):
    """All of them, one after the other in random order.

    Attributes:
        struck: names of those that have struck, in that order.
    """

    name = "all of them"
    often = 16

    def __init__(self) -> None:
        self.struck: list[str] = []
        self._left: list[Fault] = []

    @staticmethod
    def kinds(world: World) -> list[Fault]:
        """One of each that strikes by itself in this world."""
        kinds = (
            KilledTrainer, KilledWorker, KilledApi, Frozen, EmptyRedis, RestartedPostgres,
            LostMessages, FullDisk,
        )  # fmt: skip
        return [kind() for kind in kinds if world.kind in kind.worlds]

    def begin(self, world: World) -> None:
        TwoSweepers().begin(world)

    def end(self, world: World) -> None:
        TwoSweepers().end(world)

    def strike(self, world: World, rng: random.Random) -> Strike | None:
        if not self._left:
            self._left = self.kinds(world)
            rng.shuffle(self._left)
        strike = self._left[-1].strike(world, rng)
        if strike is not None:
            self.struck.append(self._left.pop().name)
        return strike


FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        Nothing, KilledTrainer, KilledWorker, KilledApi, Frozen, EmptyRedis, RestartedPostgres,
        LostMessages, FullDisk, TwoSweepers, Everything,
    )
}  # fmt: skip


@dataclass
class Recoveries:
    """Watches strikes until they are over.

    Attributes:
        seconds: from each strike to its end.
        lasting: what did not recover in time.
    """

    seconds: list[float] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)

    def watch(self, strike: Strike, patience: float) -> None:
        """Wait until a strike is over."""
        while not strike.is_over():
            if time.monotonic() - strike.began > patience:
                self.lasting.append(strike.what)
                return
            time.sleep(0.03)
        self.seconds.append(time.monotonic() - strike.began)


def _busy(world: World, rng: random.Random) -> tuple[str | None, dict[str, int]]:
    """A worker that holds a job, and what it holds."""
    for worker in rng.sample(list(world.workers), len(world.workers)):
        if held := world.held_by(worker):
            return worker, held
    return None, {}


def _awake(sleepers: Sequence[int]) -> None:
    for pid in reversed(sleepers):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _moved_on(world: World, held: Mapping[str, int]) -> Callable[[], bool]:
    """Each of these jobs was claimed anew or has ended."""

    def check() -> bool:
        jobs = world.jobs()
        return all(jobs[i].fence > fence or jobs[i].state in TERMINAL for i, fence in held.items())

    return check


def _nobody_waits(world: World) -> Callable[[], bool]:
    """No job waits although a worker is idle: what the loss of a broker or of a message costs."""

    def check() -> bool:
        states = [job.state for job in world.jobs().values()]
        busy = sum(state in HELD for state in states)
        return JobState.QUEUED not in states or busy >= len(world.workers)

    return check


def _any_write(
    world: World, before: Mapping[str, Job], of: Mapping[str, int] | None = None
) -> Callable[[], bool]:
    """Some job (of these) was written about, or all have ended."""

    def check() -> bool:
        jobs = [job for i, job in world.jobs().items() if of is None or i in of]
        old = [(j.event_seq, j.lease_expires_at, j.updated_at) for j in before.values()]
        new = [(j.event_seq, j.lease_expires_at, j.updated_at) for j in jobs]
        return any(each not in old for each in new) or all(j.state in TERMINAL for j in jobs)

    return check


def _limit_files(pid: int, limit: int) -> int | None:
    """Set the size that files of a process may grow to; the size before."""
    with contextlib.suppress(ProcessLookupError):
        before, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))
        return before
    return None
