"""How many streams are open, in all and for each caller: every one asks the database all the time.

Counts are of this process, and are touched from its event loop only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.web.problems import Problem

AGAIN_SECONDS = "5"


class OpenStreams:
    """Counts streams.

    Args:
        most: of all callers together.
        most_each: of a key, or of an address without one.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._open: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are open."""
        return self._open.total()

    @contextmanager
    def one_more(self, who: str) -> Iterator[None]:
        """Count a stream until the block ends.

        Raises:
            Problem: 429, this caller has its share; 503, all have theirs.
        """
        if self._open[who] >= self._most_each:
            raise Problem(
                429,
                "too_many_requests",
                f"{self._most_each} event streams of this caller are open already; close one, or "
                "ask GET /jobs/{id}/events now and then",
                headers={"Retry-After": AGAIN_SECONDS},
            )
        if self.count >= self._most:
            raise Problem(
                503,
                "unavailable",
                f"{self._most} event streams are open already, as many as this server takes; "
                "GET /jobs/{id}/events has the same events",
                headers={"Retry-After": AGAIN_SECONDS},
            )
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]
