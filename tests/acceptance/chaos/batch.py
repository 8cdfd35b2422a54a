"""Short jobs: submitted, some of them cancelled, and awaited over REST, whatever is down."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from cli.client import Client, Document, ServiceError
from store.jobs.states import TERMINAL
from tests.acceptance.chaos.material import SPECS
from tests.acceptance.chaos.world import World

# What every ten jobs are; a batch of six has one of each kind.
MIX = ("carot", "cancel", "evaluate", "flyp", "torn", "lp_ft", "carot", "evaluate", "flyp", "lp_ft")
TORN_CODE = "too_many_unreadable"
NO_SPACE = "no_space"
INSIST_SECONDS = 60.0
AT_ONCE = 4


@dataclass
class Order:
    """One job that was asked for, and what must become of it.

    Attributes:
        spec: a name of `SPECS` whose weights it must give, if any.
        state: the right terminal state.
        code: of the error with which it must fail.
        cancel_after: seconds from its submission.
        id: of the job, once it was accepted.
        retried: how often a person had to ask for another try.
    """

    name: str
    body: Document
    spec: str | None = None
    state: str = "succeeded"
    code: str | None = None
    cancel_after: float | None = None
    id: str | None = None
    retried: int = 0


@dataclass
class Batch:
    """Jobs on their way; submitted by threads, since the API may be down meanwhile.

    Attributes:
        prefix: of the names of its jobs.
        rng: decides what each job is.
        orders: in the order they are submitted.
        refusals: answers that no client should get, by a healthy or a failing service.
    """

    world: World
    prefix: str
    rng: random.Random
    orders: list[Order] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """Jobs accepted so far."""
        return [order.id for order in self.orders if order.id is not None]

    def start(self, count: int, pace: float = 0.0) -> None:
        """Begin to submit more jobs: the first few at once, then one every `pace` seconds."""
        orders, moments, moment = [], [], 0.0
        for i in range(count):
            number = len(self.orders) + i
            name = f"{self.prefix}-{number}"
            orders.append(_order(self.world, name, MIX[number % len(MIX)], self.rng))
            if pace and i >= AT_ONCE:
                moment += self.rng.expovariate(1 / pace)
            moments.append(moment)
        self.orders += orders
        thread = threading.Thread(target=self._submit, args=(orders, moments), daemon=True)
        self._threads.append(thread)
        thread.start()

    def is_over(self) -> bool:
        """Whether everything was submitted and every job has ended."""
        if any(thread.is_alive() for thread in self._threads):
            return False
        jobs = self.world.jobs()
        return all(jobs[job_id].state in TERMINAL for job_id in self.ids)

    def retry(self, code: str) -> int:
        """Ask for another try of what failed with `code`, as a person would; how many."""
        jobs, found = self.world.jobs(), 0
        for order in self.orders:
            error = jobs[order.id].error if order.id in jobs else None
            if order.id is not None and error and error["code"] == code != order.code:
                path = f"/jobs/{order.id}/retry"
                self._insist(partial(self.world.client.post, path))
                order.retried += 1
                found += 1
        return found

    def _submit(self, orders: list[Order], moments: list[float]) -> None:
        began = time.monotonic()
        cancels: list[tuple[float, Order]] = []
        waiting = list(zip(moments, orders, strict=True))
        with Client(self.world.client.url, timeout=10) as client:
            while waiting or cancels:
                now = time.monotonic() - began
                if waiting and waiting[0][0] <= now:
                    _, order = waiting.pop(0)
                    self._order(client, order)
                    if order.cancel_after is not None and order.id is not None:
                        cancels.append((time.monotonic() - began + order.cancel_after, order))
                for due in [each for each in cancels if each[0] <= now]:
                    cancels.remove(due)
                    self._cancel(client, due[1])
                time.sleep(0.02)

    def _order(self, client: Client, order: Order) -> None:
        answer = self._insist(lambda: client.post("/jobs", order.body, key=order.name))
        if answer is not None:
            order.id = answer["id"]

    def _cancel(self, client: Client, order: Order) -> None:
        # Whether an answer that got lost was a yes is told by the job's own events.
        self._insist(lambda: client.post(f"/jobs/{order.id}/cancel"))

    def _insist(self, call: Callable[[], Document]) -> Document | None:
        """Call until the service answers; None, and a note, when it does not or says no."""
        deadline = time.monotonic() + INSIST_SECONDS
        while True:
            try:
                return call()
            except ServiceError as error:
                status = None if error.problem is None else error.problem["status"]
                if status == 500:  # it can know what is down, and say 503
                    self.refusals.append(f"{error}")
                if status == 409:  # it has ended, or is being cancelled, already
                    return None
                if (status is not None and status < 500) or time.monotonic() > deadline:
                    self.refusals.append(f"{error}")
                    return None
                time.sleep(0.2)


def _order(world: World, name: str, what: str, rng: random.Random) -> Order:
    start = {"name": name, "model": {"checkpoint": world.model}, "dataset": world.good}
    match what:
        case "evaluate":
            return Order(name, {"kind": "evaluate", **start})
        case "torn":
            body = {"kind": "finetune", **start, "dataset": world.torn, **SPECS["flyp"]}
            return Order(name, body, state="failed", code=TORN_CODE)
        case "cancel":
            body = {"kind": "finetune", **start, **SPECS["carot"]}
            return Order(
                name, body, spec="carot", state="cancelled", cancel_after=rng.uniform(0.0, 9.0)
            )
        case _:
            return Order(name, {"kind": "finetune", **start, **SPECS[what]}, spec=what)
