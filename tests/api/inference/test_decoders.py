"""Children that an event loop talks to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from api.inference.decoders import Decoders
from carot.data.decoding.decoder_client import DecodeLimits, Pixels
from carot.errors import UnreadableImage
from tests.api.predict.test_predict import png

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    decoders = Decoders(2, DecodeLimits(seconds=30))
    yield decoders
    decoders.close()


def level(pixels: Pixels | None) -> int:
    assert pixels is not None
    return pixels.content[0]


async def test_each_image_gets_its_own_pixels(decoders: Decoders) -> None:
    images = [png(n) for n in range(40)]
    found = await asyncio.gather(*(decoders.decode(each, "x") for each in images))
    assert [level(each) for each in found] == list(range(40))
    assert len(decoders.pids()) == 2


async def test_one_after_the_other_needs_one_child(decoders: Decoders) -> None:
    for number in range(5):
        assert level(await decoders.decode(png(number), "x")) == number
    assert len(decoders.pids()) == 1


async def test_what_nobody_wants_any_more_is_not_decoded(decoders: Decoders) -> None:
    assert await decoders.decode(b"never looked at", "x", wanted=lambda: False) is None
    assert decoders.pids() == []


async def test_warm_children_are_there_before_the_first_image(decoders: Decoders) -> None:
    decoders.warm()
    decoders.warm()
    assert level(await decoders.decode(png(7), "x")) == 7
    pids = decoders.pids()
    assert len(pids) == 2
    found = await asyncio.gather(*(decoders.decode(png(n), "x") for n in range(4)))
    assert [level(each) for each in found] == [0, 1, 2, 3]
    assert decoders.pids() == pids


async def test_the_loop_goes_on_while_a_child_does_not_answer(decoders: Decoders) -> None:
    await decoders.decode(png(1), "x")
    (pid,) = decoders.pids()
    os.kill(pid, signal.SIGSTOP)
    stuck = asyncio.create_task(decoders.decode(png(2), "stuck"))
    await asyncio.sleep(0)
    assert level(await decoders.decode(png(3), "x")) == 3  # by another child
    assert not stuck.done()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(UnreadableImage, match="signal 9"):
        await stuck
    assert level(await decoders.decode(png(4), "x")) == 4


async def test_a_broken_image_is_refused_with_its_reason_and_its_child_goes_on(
    decoders: Decoders,
) -> None:
    with pytest.raises(UnreadableImage) as refused:
        await decoders.decode(b"junk", "bad.png")
    assert refused.value.name == "bad.png"
    (pid,) = decoders.pids()
    assert level(await decoders.decode(png(9), "x")) == 9
    assert decoders.pids() == [pid]
