"""What answers for an alias while its new checkpoint is on its way."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, NamedTuple

from cachetools import FIFOCache

from api.inference.residents import M, Resident, Residents

MOST_REMEMBERED = 1000


class Target(NamedTuple):
    """Where an alias points, by ids.

    Attributes:
        calibrator: None for the checkpoint's own.
    """

    checkpoint: str
    calibrator: str | None = None


class Swaps(Generic[M]):
    """Moves an alias only to a model that is warm.

    The database says where an alias points, and every request brings that along. When it has moved
    to a checkpoint that is not in memory, while the one it pointed to before is, that one goes on
    answering, with the calibrator that it had, until the new one is warm; also when the new one
    cannot be loaded, which is tried again after growing pauses. A request that names a checkpoint
    has no alias and is answered by this checkpoint or not at all.

    For the event loop's thread alone.
    """

    def __init__(self, residents: Residents[M]) -> None:
        self._residents = residents
        self._last: FIFOCache[Hashable, Target] = FIFOCache(MOST_REMEMBERED)

    def choose(self, target: Target, alias: Hashable | None) -> tuple[Resident[M], Target]:
        """What is to answer, which may still be on its way, and what it is."""
        if alias is None:
            return self._residents.get(target.checkpoint), target
        last = self._last.get(alias)
        if last is not None and last.checkpoint != target.checkpoint:
            standing = self._residents.ready(last.checkpoint)
            if standing is not None and self._residents.ready(target.checkpoint) is None:
                self._residents.prepare(target.checkpoint)
                return standing, last
        self._last[alias] = target
        return self._residents.get(target.checkpoint), target
