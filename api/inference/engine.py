"""Images in, logits out: decoding in child processes, models in an LRU, batches in one thread."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.inference.batcher import Batcher, Busy
from api.inference.decoders import Decoders
from carot.data.decoding import DecodeLimits
from carot.data.fitting import Fit
from carot.errors import UnreadableImage

if TYPE_CHECKING:
    from carot.answering import Answering


class Scored(NamedTuple):
    """What a model makes of one image, float32. C classes, D embedding width.

    Attributes:
        logits_C: of the checkpoint's own head.
        features_D: of unit length.
    """

    logits_C: NDArray[np.float32]
    features_D: NDArray[np.float32]


class Predictor(Protocol):
    """A loaded checkpoint. N images, C classes, D embedding width."""

    @property
    def classes(self) -> tuple[str, ...]:
        """C names; a logit's place is an index into them."""

    @property
    def answering(self) -> Answering:
        """What makes answers of logits and features."""

    @property
    def fit(self) -> Fit | None:
        """How far the decoder may bring an image before `prepare`, which must not notice."""

    def prepare(self, image: Image.Image) -> Any:
        """One RGB image as what `outputs` takes; safe in any thread."""

    def outputs(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (N, C) and unit features (N, D) of prepared images."""


@dataclass(frozen=True)
class Encoded:
    """One image as it was sent."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Outcome:
    """For each image what the model makes of it, or why that cannot be said."""

    predictor: Predictor
    rows: list[Scored | UnreadableImage]


class Engine:
    """Serves predictions of any number of checkpoints.

    Args:
        load: a checkpoint's id to its predictor; called in a thread, once per checkpoint in
            memory, may take seconds.
        models: checkpoints kept in memory; the least recently used one goes.
        batch, wait_seconds: see `Batcher`.
        capacity: images being decoded or waiting; beyond it `predict` raises `Busy`.
        decoders: images decoded at the same time, each in a process of its own.
        decoding: what one image may take.
        on_batch: told (images, seconds) after each model pass.
        on_wait: see `Batcher`.
    """

    def __init__(
        self,
        load: Callable[[str], Predictor],
        *,
        models: int = 3,
        batch: int = 64,
        wait_seconds: float = 0.003,
        capacity: int = 512,
        decoders: int = 2,
        decoding: DecodeLimits | None = None,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
        on_wait: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._load = load
        self._models = models
        self._capacity = capacity
        self._on_batch = on_batch
        self._pending = 0
        self._loaded: OrderedDict[str, Future[Predictor]] = OrderedDict()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="model-loader")
        self.decoders = Decoders(decoders, decoding or DecodeLimits())
        self._batcher: Batcher[tuple[Predictor, Any], Scored] = Batcher(
            self._run, batch=batch, wait_seconds=wait_seconds, capacity=capacity, on_wait=on_wait
        )

    async def predict(self, checkpoint_id: str, images: Sequence[Encoded]) -> Outcome:
        """Classify images with one checkpoint. To be called from the event loop's thread.

        Raises:
            Busy: too many images are waiting already.
            CarotError, StoreError: the checkpoint cannot be loaded.
        """
        if self._pending + len(images) > self._capacity:
            raise Busy
        self._pending += len(images)
        try:
            predictor = await self._predictor(checkpoint_id)
            decoding = [
                self.decoders.submit(i.content, i.name, predictor.fit, predictor.prepare)
                for i in images
            ]
            prepared = await asyncio.gather(*map(asyncio.wrap_future, decoding))
            good = [(predictor, p) for p in prepared if not isinstance(p, UnreadableImage)]
            futures = self._batcher.submit(id(predictor), good)
            scored = iter(await asyncio.gather(*(asyncio.wrap_future(f) for f in futures)))
        finally:
            self._pending -= len(images)
        return Outcome(
            predictor, [p if isinstance(p, UnreadableImage) else next(scored) for p in prepared]
        )

    @property
    def pending(self) -> int:
        """Images being decoded or waiting for a model."""
        return self._pending

    def models(self) -> tuple[int, int]:
        """How many checkpoints are in memory, and how many on their way. Any thread may ask."""
        futures = list(self._loaded.values())
        loaded = sum(future.done() for future in futures)
        return loaded, len(futures) - loaded

    def close(self) -> None:
        """Finish what the model has under way; end threads and decoders."""
        self._batcher.close()
        self._loader.shutdown(cancel_futures=True)
        self.decoders.close()

    async def _predictor(self, checkpoint_id: str) -> Predictor:
        future = self._loaded.get(checkpoint_id)
        if future is None:
            future = self._loader.submit(self._load, checkpoint_id)
            self._loaded[checkpoint_id] = future
            self.decoders.warm()
            while len(self._loaded) > self._models:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(checkpoint_id)
        try:
            # Shielded: a client that goes away must not cancel the loading others wait for.
            return await asyncio.shield(asyncio.wrap_future(future))
        except Exception:
            if self._loaded.get(checkpoint_id) is future:
                del self._loaded[checkpoint_id]
            raise

    def _run(self, key: Hashable, items: Sequence[tuple[Predictor, Any]]) -> Sequence[Scored]:
        started = time.perf_counter()
        outputs = items[0][0].outputs([prepared for _, prepared in items])
        self._on_batch(len(items), time.perf_counter() - started)
        return [Scored(*row) for row in zip(*outputs, strict=True)]
