"""Images to logits, with models that are not models."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from api.inference.batcher import DeadlinePassed
from api.inference.engine import Encoded, Engine, Scored
from api.inference.model_thread import Busy
from carot.answers.answering import Answering
from carot.data.decoding.decoder_client import DecodeLimits, DecoderFailure, Pixels
from carot.data.decoding.depth import UNKNOWN
from carot.errors import CheckpointError, UnreadableImage


class Brightness:
    """Two classes; the logit of each image is its mean brightness."""

    classes = ("dark", "bright")
    answering = Answering(classes, None)
    fit = None
    depth = UNKNOWN
    memory_bytes = 100

    def warm_ups(self, batch: int) -> Sequence[Callable[[], None]]:
        return ()

    def prepare(self, pixels: Pixels) -> Any:
        return float(np.asarray(pixels.image()).mean())

    def outputs(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        means = np.array(prepared, dtype=np.float32)
        return np.stack([255 - means, means], axis=1), np.stack([means], axis=1)


class Loader:
    """Counts loads; can be held up or told to fail."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, checkpoint_id: str) -> Brightness:
        assert self.gate.wait(10)
        self.loads.append(checkpoint_id)
        if checkpoint_id == "torn":
            raise CheckpointError("torn")
        return Brightness()


def encoded(level: int, name: str = "x.png") -> Encoded:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (level,) * 3).save(file, "PNG")
    return Encoded(name, file.getvalue())


def alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came to that")


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
async def engine(loader: Loader) -> AsyncIterator[Engine]:
    engine = Engine(loader, memory_bytes=lambda: 250, batch=8, wait_seconds=0.0, capacity=10)
    yield engine
    loader.gate.set()
    await asyncio.to_thread(engine.close)


pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_answers_keep_the_order_around_broken_images(engine: Engine) -> None:
    images = [encoded(10), Encoded("bad.png", b"junk"), encoded(200)]
    outcome = await engine.predict("a", images)
    first, second, third = outcome.rows
    assert isinstance(second, UnreadableImage)
    assert second.name == "bad.png"
    assert isinstance(first, Scored)
    assert isinstance(third, Scored)
    assert np.allclose(first.logits_C, [245, 10])
    assert np.allclose(third.logits_C, [55, 200])
    assert [*first.features_D, *third.features_D] == [10, 200]


async def test_a_checkpoint_is_loaded_once_for_all_who_wait(engine: Engine, loader: Loader) -> None:
    loader.gate.clear()
    waiting = [asyncio.create_task(engine.predict("a", [encoded(i)])) for i in range(5)]
    await asyncio.sleep(0)
    loader.gate.set()
    await asyncio.gather(*waiting)
    assert loader.loads == ["a"]


async def test_a_client_that_goes_away_does_not_stop_the_loading(
    engine: Engine, loader: Loader
) -> None:
    loader.gate.clear()
    gone = asyncio.create_task(engine.predict("a", [encoded(1)]))
    stays = asyncio.create_task(engine.predict("a", [encoded(2)]))
    await asyncio.sleep(0.01)
    gone.cancel()
    loader.gate.set()
    assert len((await stays).rows) == 1
    assert loader.loads == ["a"]


async def test_the_least_recently_used_checkpoint_goes(engine: Engine, loader: Loader) -> None:
    for name in ("a", "b", "a", "c", "a", "b"):
        await engine.predict(name, [encoded(1)])
    assert loader.loads == ["a", "b", "c", "b"]


async def test_a_model_larger_than_the_bound_is_kept_alone(loader: Loader) -> None:
    engine = Engine(loader, memory_bytes=lambda: 10)
    for name in ("a", "a", "b", "b"):
        await engine.predict(name, [encoded(1)])
    assert loader.loads == ["a", "b"]
    assert engine.models() == (1, 0)
    assert engine.memory_bytes() == 100
    await asyncio.to_thread(engine.close)


async def test_a_request_keeps_its_model_after_it_had_to_go(loader: Loader) -> None:
    models: list[weakref.ref[Brightness]] = []
    entered, gate = threading.Event(), threading.Event()

    class Waiting(Brightness):
        def outputs(
            self, prepared: Sequence[Any]
        ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            entered.set()
            assert gate.wait(10)
            return super().outputs(prepared)

    def load(name: str) -> Brightness:
        model = Waiting() if name == "a" else Brightness()
        models.append(weakref.ref(model))
        return model

    engine = Engine(load, memory_bytes=lambda: 100)
    under_way = asyncio.create_task(engine.predict("a", [encoded(10)]))
    assert await asyncio.to_thread(entered.wait, 10)
    other = asyncio.create_task(engine.predict("b", [encoded(10)]))
    await until(lambda: engine.models() == (1, 0) and len(models) == 2)
    gate.set()
    (row,) = (await under_way).rows
    assert isinstance(row, Scored)
    assert len((await other).rows) == 1
    del under_way, other
    await until(lambda: models[0]() is None)  # and then its memory is free
    assert models[1]() is not None
    await asyncio.to_thread(engine.close)


async def test_what_runs_models_holds_none_while_it_waits() -> None:
    models: list[weakref.ref[Brightness]] = []

    def load(_: str) -> Brightness:
        model = Brightness()
        models.append(weakref.ref(model))
        return model

    engine = Engine(load, memory_bytes=lambda: 100)
    await engine.predict("a", [encoded(10)])
    await engine.predict("b", [])  # which takes the room, and runs nothing
    await until(lambda: models[0]() is None)
    await asyncio.to_thread(engine.close)


async def test_a_model_is_warm_before_it_is_ready_while_others_answer() -> None:
    warming, gate = threading.Event(), threading.Event()
    passes: list[str] = []

    class Cold(Brightness):
        def warm_ups(self, batch: int) -> Sequence[Callable[[], None]]:
            def first() -> None:
                passes.append("first")

            def second() -> None:
                passes.append("second")

            return [first, second]

    def load(name: str) -> Brightness:
        if name == "cold":
            warming.set()
            assert gate.wait(10)
        return Cold() if name == "cold" else Brightness()

    engine = Engine(load)
    await engine.predict("other", [encoded(1)])
    cold = asyncio.create_task(engine.predict("cold", [encoded(1)]))
    assert await asyncio.to_thread(warming.wait, 10)
    assert engine.models() == (1, 1)
    assert len((await engine.predict("other", [encoded(1)])).rows) == 1
    gate.set()
    await cold
    assert passes == ["first", "second"]
    assert engine.models() == (2, 0)
    await asyncio.to_thread(engine.close)


async def test_closing_fails_what_waits_for_a_load(loader: Loader) -> None:
    engine = Engine(loader)
    loader.gate.clear()
    waiting = [asyncio.create_task(engine.predict(name, [encoded(1)])) for name in ("a", "b")]
    await asyncio.sleep(0.05)
    closing = asyncio.create_task(asyncio.to_thread(engine.close))
    await asyncio.sleep(0.05)
    loader.gate.set()
    await closing
    for each in waiting:
        with pytest.raises(Busy):
            await each


async def test_a_deadline_bounds_the_loading_as_well(engine: Engine, loader: Loader) -> None:
    loader.gate.clear()
    with pytest.raises(DeadlinePassed):
        await engine.predict("a", [encoded(1)], deadline=time.monotonic() + 0.05)
    assert engine.pending == 0
    loader.gate.set()
    await engine.predict("a", [encoded(1)])
    assert loader.loads == ["a"]


async def test_a_checkpoint_that_cannot_be_loaded_is_tried_again(
    engine: Engine, loader: Loader
) -> None:
    for _ in range(2):
        with pytest.raises(CheckpointError):
            await engine.predict("torn", [encoded(1)])
    assert loader.loads == ["torn", "torn"]


async def test_more_images_than_may_wait_are_refused(engine: Engine, loader: Loader) -> None:
    loader.gate.clear()
    waiting = asyncio.create_task(engine.predict("a", [encoded(1)] * 8))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await engine.predict("a", [encoded(1)] * 3)
    loader.gate.set()
    await waiting
    assert len((await engine.predict("a", [encoded(1)] * 10)).rows) == 10


async def test_a_decoder_that_is_killed_costs_at_most_the_image_it_was_at(engine: Engine) -> None:
    await engine.predict("a", [encoded(1)] * 4)
    for pid in engine.decoders.pids():
        os.kill(pid, signal.SIGKILL)
    outcome = await engine.predict("a", [encoded(i) for i in range(10)])
    assert len(outcome.rows) == 10
    assert sum(isinstance(row, UnreadableImage) for row in outcome.rows) <= 2
    outcome = await engine.predict("a", [encoded(i) for i in range(10)])
    assert not any(isinstance(row, UnreadableImage) for row in outcome.rows)


async def test_closing_ends_the_decoders_also_at_work(loader: Loader) -> None:
    engine = Engine(loader, decoding=DecodeLimits(seconds=60))
    await engine.predict("a", [encoded(1)] * 4)
    pids = engine.decoders.pids()
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # what they are sent, they will never answer
    waiting = asyncio.create_task(engine.predict("a", [encoded(1)] * 4))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(asyncio.to_thread(engine.close), 20)
    assert not alive(pids)
    with pytest.raises((Busy, DecoderFailure)):
        await waiting


async def test_an_engine_without_requests_has_no_decoders(engine: Engine) -> None:
    assert engine.decoders.pids() == []


async def test_the_thread_that_loads_a_model_ends_with_it() -> None:
    """OpenMP's helpers of a thread that lives on slow down the passes of another."""
    threads: list[threading.Thread] = []

    def load(_: str) -> Brightness:
        threads.append(threading.current_thread())
        return Brightness()

    engine = Engine(load)
    await engine.predict("a", [encoded(1)])
    [thread] = threads
    assert thread is not threading.current_thread()
    assert not thread.is_alive()
    await asyncio.to_thread(engine.close)
