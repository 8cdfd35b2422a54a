"""An alias that moves under load: no request fails, and none waits for the new model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from api.inference import residents
from carot.errors import CheckpointError
from tests.api.helpers import Start
from tests.api.operations.test_metrics import value
from tests.api.predict.test_predict import png
from tests.api.rows import add_checkpoint
from tests.api.serving import Slow, listening, replace_engine

CLIENTS = 8


class Two:
    """Two checkpoints, whose loading can be held up; memory for both of them or for one."""

    def __init__(self, client: TestClient, memory_bytes: int) -> None:
        self.client = client
        self.memory_bytes = memory_bytes
        self.failing: set[str] = set()
        self.loads: Counter[str] = Counter()
        self.gate = threading.Event()
        self.gate.set()
        self.context = replace_engine(client, self._load, memory_bytes=lambda: memory_bytes)
        self.ids = [add_checkpoint(self.context, name, ("dark", "bright")) for name in (b"a", b"b")]
        self.models: dict[str, Slow] = {}
        self.point(0)

    def point(self, which: int) -> None:
        answer = self.client.put("/models/digits", json={"checkpoint": self.ids[which]})
        assert answer.status_code == 200

    def ask(self, **fields: str) -> Any:
        files = {"images": ("x.png", png(255))}
        return self.client.post("/predict", files=files, data=fields or {"model": "digits"})

    def wait_for(self, which: int) -> None:
        """Ask until this checkpoint answers."""
        until(lambda: self.ask().json()["checkpoint"] == self.ids[which])

    def _load(self, checkpoint_id: str) -> Slow:
        self.loads[checkpoint_id] += 1
        assert self.gate.wait(30)
        if checkpoint_id in self.failing:
            raise CheckpointError("torn")
        model = Slow(offset=float(self.ids.index(checkpoint_id)))
        model.gate.set()
        self.models[checkpoint_id] = model
        return model


@pytest.fixture(params=[200, 100], ids=["room for both", "room for one"])
def two(request: pytest.FixtureRequest, start: Start) -> Two:
    return Two(start(rate_per_minute=0), request.param)


class Load:
    """Clients that ask for the alias without a pause, and what they are told."""

    def __init__(self, port: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.answers: list[tuple[str, float]] = []  # checkpoint, logit
        self._begun = [0] * CLIENTS
        self._done = [0] * CLIENTS
        self._url = f"http://127.0.0.1:{port}/predict"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def turned_over(self) -> None:
        """Wait until every request that is under way now is answered."""
        wanted = list(self._begun)
        until(lambda: all(d >= w for d, w in zip(self._done, wanted, strict=True)))

    async def _all(self) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            await asyncio.gather(*(self._one(client, i) for i in range(CLIENTS)))

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        while not self._stop.is_set():
            self._begun[number] += 1
            answer = await client.post(
                self._url, files={"images": ("x.png", png(255))}, data={"model": "digits"}
            )
            self.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                body = answer.json()
                logit = body["predictions"][0]["top"][0]["logit"]
                self.answers.append((body["checkpoint"], logit))
            self._done[number] += 1


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_no_request_fails_or_waits_while_an_alias_moves(two: Two) -> None:
    two.wait_for(0)
    with listening(two.client) as port, Load(port) as load:
        for which in (1, 0, 1):
            move(two, load, which)
    assert set(load.statuses) == {200}
    for checkpoint, logit in load.answers:  # each says who it is of, and it is true
        assert logit == pytest.approx(1.0 + two.ids.index(checkpoint))
    assert two.loads.total() == (4 if two.memory_bytes < 200 else 2)
    assert all(model.warmed for model in two.models.values())


def move(two: Two, load: Load, which: int) -> None:
    """Point the alias elsewhere, and wait until all answers come from there."""
    loads = two.loads.total()
    two.gate.clear()
    two.point(which)
    moved = len(load.answers)
    until(lambda: two.loads.total() > loads or two.ids[which] in seen(load, moved))
    if two.loads.total() > loads:  # it was not in memory any more: others answer meanwhile
        held = len(load.answers)
        until(lambda: len(load.answers) > held + 10 * CLIENTS)
        assert seen(load, moved) == {two.ids[1 - which]}
    two.gate.set()
    until(lambda: two.ids[which] in seen(load, moved))
    load.turned_over()  # what was under way may be of the old one
    settled = len(load.answers)
    until(lambda: len(load.answers) > settled + 2 * CLIENTS)
    assert seen(load, settled) == {two.ids[which]}


def seen(load: Load, since: int) -> set[str]:
    return {checkpoint for checkpoint, _ in load.answers[since:]}


def test_the_old_checkpoint_answers_until_the_new_one_is_warm(two: Two) -> None:
    two.wait_for(0)
    two.gate.clear()
    two.point(1)
    for _ in range(3):
        answer = two.ask().json()
        assert answer["checkpoint"] == two.ids[0]
        assert answer["predictions"][0]["top"][0]["logit"] == pytest.approx(1.0)
    with ThreadPoolExecutor(1) as pool:
        # One that names a checkpoint gets this one, however long it takes.
        named = pool.submit(two.ask, checkpoint=two.ids[1])
        until(lambda: two.loads[two.ids[1]] == 1)
        assert not named.done()
        two.gate.set()
        assert named.result(30).json()["checkpoint"] == two.ids[1]
    assert two.ask().json()["checkpoint"] == two.ids[1]


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_loaded_does_not_replace_one_that_was(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residents, "FIRST_PAUSE_SECONDS", 0.2)
    two.wait_for(0)
    two.failing.add(two.ids[1])
    two.point(1)
    until(lambda: two.ask().json()["checkpoint"] == two.ids[0] and two.loads[two.ids[1]] >= 3)
    assert value(two.client, "carot_model_loads_total", outcome="failed") >= 2
    assert two.ask(checkpoint=two.ids[1]).json()["code"] == "artifact_corrupt"
    two.failing.clear()
    two.wait_for(1)


def test_attempts_are_rarer_the_more_of_them_failed(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residents, "FIRST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(residents, "LONGEST_PAUSE_SECONDS", 3600.0)
    two.wait_for(0)
    two.failing.add(two.ids[1])
    two.point(1)
    for _ in range(20):
        assert two.ask().status_code == 200
    assert two.loads[two.ids[1]] == 1


def test_an_alias_moves_to_what_is_asked_for_when_the_old_one_is_gone(start: Start) -> None:
    two = Two(start(), memory_bytes=100)
    two.wait_for(0)
    assert two.ask(checkpoint=two.ids[1]).status_code == 200  # which takes the room
    two.point(1)
    assert two.ask().json()["checkpoint"] == two.ids[1]
