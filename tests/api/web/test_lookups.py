"""Questions that several requests have at the same time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from api.web.lookups import MOST_KEPT, Lookups

pytestmark = pytest.mark.anyio
LIMIT_SECONDS = 60


class Source:
    """Answers with its number of answers so far; each waits for leave to begin."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.begun = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.broken = False

    def __call__(self, keys: Sequence[str]) -> dict[str, int]:
        self.asked.append(sorted(keys))
        number = len(self.asked)
        self.begun.release()
        assert self.leave.acquire(timeout=LIMIT_SECONDS)
        if self.broken:
            raise ConnectionError("away")
        return {key: number for key in keys if key != "nobody"}


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def lookups(source: Source) -> Iterator[Lookups[str, int]]:
    made = Lookups(source, "lookups")
    yield made
    source.leave.release(100)
    made.close()


def begun(source: Source) -> None:
    assert source.begun.acquire(timeout=LIMIT_SECONDS)


async def under_way(
    lookups: Lookups[str, int], source: Source, key: str
) -> asyncio.Task[int | None]:
    """A question that is being asked."""
    task = asyncio.create_task(lookups.get(key))
    await asyncio.to_thread(begun, source)
    return task


async def test_who_comes_in_the_meantime_is_answered_by_the_next_question(
    lookups: Lookups[str, int], source: Source
) -> None:
    first = await under_way(lookups, source, "a")
    others = [asyncio.create_task(lookups.get(key)) for key in ("a", "a", "b", "nobody")]
    await asyncio.sleep(0)
    source.leave.release(2)
    assert await first == 1
    assert await asyncio.gather(*others) == [2, 2, 2, None]
    assert source.asked == [["a"], ["a", "b", "nobody"]]


async def test_nothing_is_kept(lookups: Lookups[str, int], source: Source) -> None:
    source.leave.release(2)
    assert [await lookups.get("a"), await lookups.get("a")] == [1, 2]


async def test_one_who_goes_away_takes_nothing_from_the_others(
    lookups: Lookups[str, int], source: Source
) -> None:
    first = await under_way(lookups, source, "a")
    gone, stays = (asyncio.create_task(lookups.get("b")) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    first.cancel()
    source.leave.release(2)
    assert await stays == 2
    for each in (gone, first):
        with pytest.raises(asyncio.CancelledError):
            await each


async def test_an_error_belongs_to_those_who_waited_for_it(
    lookups: Lookups[str, int], source: Source
) -> None:
    source.broken = True
    first = await under_way(lookups, source, "a")
    source.leave.release()
    with pytest.raises(ConnectionError):
        await first
    source.broken = False
    source.leave.release()
    assert await lookups.get("a") == 2


class Versioned:
    """Answers with its version, at once."""

    def __init__(self) -> None:
        self.version = 1
        self.asked: list[tuple[int, str]] = []

    def __call__(self, keys: Sequence[str]) -> dict[str, int]:
        self.asked += [(threading.get_ident(), key) for key in keys]
        return {key: self.version for key in keys if not key.startswith("nobody")}


async def test_a_database_that_tells_its_version_is_asked_again_when_it_has_changed() -> None:
    source = Versioned()
    lookups = Lookups(source, "lookups", lambda: source.version)
    assert [await lookups.get(key) for key in ("a", "b", "a", "a")] == [1, 1, 1, 1]
    source.version = 2
    assert [await lookups.get(key) for key in ("a", "a")] == [2, 2]
    here = threading.get_ident()  # no other thread was woken
    assert source.asked == [(here, "a"), (here, "b"), (here, "a")]
    lookups.close()


async def test_what_is_not_there_is_asked_for_each_time_and_kept_by_nobody() -> None:
    source = Versioned()
    lookups = Lookups(source, "lookups", lambda: source.version)
    assert [await lookups.get("nobody") for _ in range(2)] == [None, None]
    assert len(source.asked) == 2
    for number in range(3 * MOST_KEPT):
        await lookups.get(f"key {number}")
        assert len(lookups._kept) <= MOST_KEPT
    lookups.close()


async def test_a_change_while_a_question_is_under_way_is_asked_for_again() -> None:
    version, now = 1, "before"

    def ask(keys: Sequence[str]) -> dict[str, str]:
        nonlocal version, now
        found = dict.fromkeys(keys, now)
        version, now = 2, "after"  # committed by somebody else a moment later
        return found

    lookups = Lookups(ask, "lookups", lambda: version)
    assert [await lookups.get("a") for _ in range(2)] == ["before", "after"]
    lookups.close()
