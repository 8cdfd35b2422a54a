"""Byte ranges of RFC 9110."""

from __future__ import annotations

import pytest

from api.web.problems import Problem
from api.web.ranges import chosen_range

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-99", (0, 100)),
        ("bytes=0-0", (0, 1)),
        ("bytes=50-", (50, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=90-500", (90, 100)),
        ("bytes=5-3", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert chosen_range(header, None, ETAG, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_beyond_the_end(header: str) -> None:
    with pytest.raises(Problem) as caught:
        chosen_range(header, None, ETAG, 100)
    assert caught.value.status == 416
    assert caught.value.headers == {"Content-Range": "bytes */100"}


def test_a_range_of_another_version_gives_the_whole() -> None:
    assert chosen_range("bytes=0-1", '"old"', ETAG, 100) is None
    assert chosen_range("bytes=0-1", ETAG, ETAG, 100) == (0, 2)
