from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carot.data.byte_cache import ByteCache


def cache(limit: int) -> ByteCache[str, bytes]:
    return ByteCache(limit, len)


@given(st.lists(st.integers(0, 9)), st.integers(1, 40))
def test_it_is_a_least_recently_used_cache(keys: list[int], limit: int) -> None:
    # The slow model: a list, most recent last; value k has k + 1 bytes.
    tested: ByteCache[int, bytes] = ByteCache(limit, len)
    model: list[int] = []
    loads = 0
    for key in keys:
        assert tested.get(key, partial(bytes, key + 1), key + 1) == bytes(key + 1)
        if key in model:
            model.remove(key)
        else:
            loads += 1
            while model and sum(model) + len(model) + key + 1 > limit:
                model.pop(0)
        model.append(key)
        assert tested.loads == loads
        assert tested.held == sum(model) + len(model)
        assert tested.held <= max(limit, key + 1)


def test_what_is_larger_than_expected_makes_others_go() -> None:
    tested = cache(10)
    tested.get("a", lambda: bytes(4), 4)
    tested.get("b", lambda: bytes(8), 1)
    assert tested.held == 8


def test_threads_load_a_value_once() -> None:
    tested = cache(100)
    gate = threading.Barrier(8)

    def ask() -> bytes:
        gate.wait(10)
        return tested.get("a", lambda: bytes(7), 7)

    with ThreadPoolExecutor(8) as pool:
        values = [future.result(10) for future in [pool.submit(ask) for _ in range(8)]]
    assert tested.loads == 1
    assert all(value is values[0] for value in values)


def test_loads_under_way_count() -> None:
    tested = cache(10)
    most = 0

    def ask(number: int) -> None:
        nonlocal most

        def load() -> bytes:
            nonlocal most
            most = max(most, tested.held)
            return bytes(4)

        assert tested.get(str(number % 17), load, 4) == bytes(4)
        most = max(most, tested.held)

    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(ask, number) for number in range(2000)]:
            future.result(30)
    assert 4 <= most <= 10


def test_a_failure_reaches_who_asked_and_is_not_kept() -> None:
    tested = cache(10)

    def fail() -> bytes:
        raise OSError("gone")

    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            tested.get("a", fail, 20)
    assert tested.held == 0
    assert tested.get("a", lambda: b"x", 1) == b"x"
    assert tested.loads == 3
