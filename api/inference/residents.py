"""The models in memory: loaded in the background, evicted least recently used first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog

from api.inference.batcher import Batcher
from api.inference.model_thread import Busy, ModelOwner

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
log = structlog.get_logger("api.models")


class Model(Protocol):
    """What can be kept in memory."""

    @property
    def memory_bytes(self) -> int:
        """What it takes on its device."""

    def warm_ups(self, batch: int) -> Sequence[Callable[[], None]]:
        """Passes that make later ones of up to `batch` images as fast as they will be."""


M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Resident(Generic[M]):
    """One model and its queue, from the beginning of its loading on.

    Whoever holds it can use it to the end, whether or not it has left the memory's books since.

    Attributes:
        loading: done once the model is loaded and warm.
    """

    checkpoint: str
    batcher: Batcher[Any, Any]
    loading: Future[M]

    @property
    def ready(self) -> bool:
        """Whether the model can answer."""
        return self.loading.done() and self.loading.exception() is None


@dataclass
class _Failures:
    count: int
    until: float


class Residents(Generic[M]):
    """Loads each checkpoint once, in a thread, and keeps as many as fit.

    What is on its way has no size yet, so for a moment there is one model more in memory than the
    bound allows; and a model that alone is larger than the bound is kept as long as it is the last
    that was loaded.

    Args:
        load: a checkpoint's id to its model; may take seconds.
        queue: a queue for the model that is on its way.
        owner: the thread that runs models, warm-ups too: pass by pass, so that other models'
            requests go on in between.
        batch: most images in a pass; asked once a model is loaded.
        memory_bytes: the bound; asked for when a model was loaded.
        on_load: told for each load how many seconds it took, or None when it failed.
    """

    def __init__(
        self,
        load: Callable[[str], M],
        queue: Callable[[Future[M]], Batcher[Any, Any]],
        owner: ModelOwner,
        *,
        batch: Callable[[], int],
        memory_bytes: Callable[[], int],
        on_load: Callable[[float | None], None] = lambda seconds: None,
    ) -> None:
        self._load = load
        self._queue = queue
        self._owner = owner
        self._batch = batch
        self._memory_bytes = memory_bytes
        self._on_load = on_load
        self._lock = threading.Lock()
        self._all: OrderedDict[str, Resident[M]] = OrderedDict()
        self._failures: dict[str, _Failures] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="model-loader")

    def get(self, checkpoint: str) -> Resident[M]:
        """A checkpoint that is in memory or on its way, now if not before."""
        with self._lock:
            return self._get(checkpoint)

    def ready(self, checkpoint: str) -> Resident[M] | None:
        """A checkpoint, if it can answer now."""
        with self._lock:
            resident = self._all.get(checkpoint)
            if resident is None or not resident.ready:
                return None
            self._all.move_to_end(checkpoint)
            return resident

    def prepare(self, checkpoint: str) -> None:
        """Have a checkpoint on its way, but for a pause after each time that it failed."""
        with self._lock:
            failures = self._failures.get(checkpoint)
            if failures is None or time.monotonic() >= failures.until:
                self._get(checkpoint)

    def counts(self) -> tuple[int, int]:
        """How many checkpoints can answer, and how many are on their way."""
        with self._lock:
            ready = sum(each.ready for each in self._all.values())
            return ready, len(self._all) - ready

    def used_bytes(self) -> int:
        """What the models that can answer take."""
        with self._lock:
            return self._used()

    def pending(self) -> int:
        """Images being decoded or waiting for a model."""
        with self._lock:
            return sum(each.batcher.pending for each in self._all.values())

    def close(self) -> None:
        """Begin no other load; wait for the one under way. The others fail as `Busy`."""
        self._loader.shutdown(cancel_futures=True)
        with self._lock:
            never = [each.loading for each in self._all.values() if not each.loading.done()]
        for loading in never:
            loading.set_exception(Busy())

    def _get(self, checkpoint: str) -> Resident[M]:
        resident = self._all.get(checkpoint)
        if resident is None:
            loading: Future[M] = Future()
            resident = Resident(checkpoint, self._queue(loading), loading)
            self._all[checkpoint] = resident
            self._loader.submit(self._bring, resident)
        self._all.move_to_end(checkpoint)
        return resident

    def _bring(self, resident: Resident[M]) -> None:
        started = time.perf_counter()
        try:
            model = self._load_apart(resident.checkpoint)
            for warm_up in model.warm_ups(self._batch()):
                self._owner.call(warm_up).result()
        # Whatever it is, it belongs to those who wait for the model.
        except BaseException as error:  # noqa: BLE001
            self._fail(resident, error)
            return
        seconds = time.perf_counter() - started
        log.info(
            "model_loaded",
            checkpoint=resident.checkpoint,
            seconds=round(seconds, 2),
            memory_bytes=model.memory_bytes,
        )
        self._on_load(seconds)
        with self._lock:
            self._failures.pop(resident.checkpoint, None)
            resident.loading.set_result(model)
            self._make_room(resident)

    def _load_apart(self, checkpoint: str) -> M:
        """Load in a thread that ends with it.

        OpenMP gives each thread that has computed helpers of its own, for as long as it lives. Once
        there are more of them than cores, those of all threads are put to sleep between operations
        instead of waiting a moment for the next, and every pass of a model takes longer.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="model-load") as once:
            return once.submit(self._load, checkpoint).result()

    def _fail(self, resident: Resident[M], error: BaseException) -> None:
        with self._lock:
            failures = self._failures.setdefault(resident.checkpoint, _Failures(0, 0.0))
            pause = min(FIRST_PAUSE_SECONDS * 2**failures.count, LONGEST_PAUSE_SECONDS)
            failures.count = min(failures.count + 1, 16)
            failures.until = time.monotonic() + pause
            del self._all[resident.checkpoint]
        log.error("model_not_loaded", checkpoint=resident.checkpoint, exc_info=error)
        self._on_load(None)
        resident.loading.set_exception(error)

    def _make_room(self, newest: Resident[M]) -> None:
        limit = self._memory_bytes()
        for checkpoint, resident in list(self._all.items()):  # least recently used first
            if self._used() <= limit:
                return
            if resident.ready and resident is not newest:
                del self._all[checkpoint]

    def _used(self) -> int:
        models = (each.loading.result() for each in self._all.values() if each.ready)
        return sum(model.memory_bytes for model in models)
