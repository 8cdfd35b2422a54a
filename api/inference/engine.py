"""Images in, logits and features out.

A request takes its places in its model's queue, its images are decoded in child processes, which
the event loop talks to, and run in batches by the one thread that owns the models.

Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from api.inference.batcher import Batcher, DeadlinePassed, Ticket
from api.inference.decoders import Decoders
from api.inference.model_thread import Busy, ModelOwner
from api.inference.residents import Model, Resident, Residents
from api.inference.swaps import Swaps, Target
from carot.data.decoding.decoder_client import DecodeLimits, DecoderFailure, Pixels
from carot.data.decoding.depth import Depth
from carot.data.decoding.resampling import Fit
from carot.errors import UnreadableImage

if TYPE_CHECKING:
    from carot.answers.answering import Answering


class Scored(NamedTuple):
    """What a model makes of one image, float32. C classes, D embedding width.

    Attributes:
        logits_C: of the checkpoint's own head.
        features_D: of unit length.
    """

    logits_C: NDArray[np.float32]
    features_D: NDArray[np.float32]


class Predictor(Model, Protocol):
    """A loaded checkpoint. N images, C classes, D embedding width."""

    @property
    def classes(self) -> tuple[str, ...]:
        """C names; a logit's place is an index into them."""

    @property
    def answering(self) -> Answering:
        """What makes answers of logits and features."""

    @property
    def fit(self) -> Fit | None:
        """To what size the decoder brings images; None: they come as large as they are."""

    @property
    def depth(self) -> Depth:
        """How the decoder reads images of more than eight bits."""

    def prepare(self, pixels: Pixels) -> Any:
        """One image as what `outputs` takes; at once if there is a `fit`, else in any thread."""

    def outputs(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (N, C) and unit features (N, D) of prepared images."""


@dataclass(frozen=True)
class Encoded:
    """One image as it was sent."""

    name: str
    content: bytes


Row = Scored | UnreadableImage


@dataclass(frozen=True)
class Outcome:
    """For each image the model's outputs, or the error.

    Attributes:
        target: the checkpoint and calibrator that answer: those asked for, or for a while after an
            alias has moved, those that it pointed to before.
    """

    predictor: Predictor
    target: Target
    rows: list[Row]


class Engine:
    """Serves predictions of any number of checkpoints.

    Args:
        load: a checkpoint's id to its predictor; called in a thread, once per checkpoint in
            memory, may take seconds.
        memory_bytes: see `Residents`.
        batch: most images in one pass; a function is asked once a model is loaded.
        wait_seconds: see `Batcher`; a number is the same whatever a batch took.
        capacity: images of one model being decoded or waiting; beyond it `predict` raises `Busy`.
        deadline_seconds: the longest that a request may take.
        decoders: images decoded at the same time, each in a process of its own.
        decoding: what one image may take.
        on_batch: told (images, seconds) after each model pass.
        on_wait: see `Batcher`.
        on_load: see `Residents`.
    """

    def __init__(
        self,
        load: Callable[[str], Predictor],
        *,
        memory_bytes: Callable[[], int] = lambda: 4 << 30,
        batch: int | Callable[[], int] = 64,
        wait_seconds: float | Callable[[float], float] = 0.003,
        capacity: int = 512,
        deadline_seconds: float = 30.0,
        decoders: int = 2,
        decoding: DecodeLimits | None = None,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
        on_wait: Callable[[float], None] = lambda seconds: None,
        on_load: Callable[[float | None], None] = lambda seconds: None,
    ) -> None:
        self._batch = batch if callable(batch) else lambda: batch
        self._wait_seconds = wait_seconds if callable(wait_seconds) else lambda _: wait_seconds
        self._capacity = capacity
        self._deadline_seconds = deadline_seconds
        self._closed = False
        self._bringing: set[asyncio.Task[None]] = set()
        self._on_batch = on_batch
        self._on_wait = on_wait
        self.decoders = Decoders(decoders, decoding or DecodeLimits())
        self._owner = ModelOwner()
        self._residents = Residents(
            load,
            self._queue,
            self._owner,
            batch=self._batch,
            memory_bytes=memory_bytes,
            on_load=on_load,
        )
        self._swaps = Swaps(self._residents)

    async def predict(
        self,
        checkpoint_id: str,
        images: Sequence[Encoded],
        *,
        calibrator: str | None = None,
        alias: Hashable | None = None,
        deadline: float | None = None,
        admit: Callable[[Predictor, Target], Awaitable[None]] | None = None,
    ) -> Outcome:
        """Classify images. To be called from the event loop's thread.

        When it is cancelled, images that are in no batch yet are dropped.

        Args:
            checkpoint_id, calibrator: what is asked for; the outcome says what has answered.
            alias: the alias that points there, if one was asked for (see `Swaps`).
            deadline: when the answer is wanted at the latest, by `time.monotonic`; at most
                `deadline_seconds` from now.
            admit: asked once the model is there and before any image is looked at; what it raises
                is raised.

        Raises:
            Busy: too many images are waiting already.
            DeadlinePassed: the answer would come too late.
            CarotError, StoreError: the checkpoint cannot be loaded.
        """
        latest = time.monotonic() + self._deadline_seconds
        deadline = latest if deadline is None else min(deadline, latest)
        resident, target = self._swaps.choose(Target(checkpoint_id, calibrator), alias)
        tickets: list[Ticket[Any, Row]] = resident.batcher.tickets(len(images), deadline)
        try:
            async with asyncio.timeout_at(deadline):
                predictor = await self._loaded(resident)
                if admit is not None:
                    await admit(predictor, target)
                if self._closed:
                    raise Busy
                for ticket, image in zip(tickets, images, strict=True):
                    # Of its own: a child is not ended because the client of its image has gone.
                    task = asyncio.create_task(self._bring(predictor, image, ticket))
                    self._bringing.add(task)
                    task.add_done_callback(self._bringing.discard)
                answers = [asyncio.wrap_future(ticket.future) for ticket in tickets]
                rows = await asyncio.gather(*answers)
        except TimeoutError:
            raise DeadlinePassed from None
        finally:
            for ticket in tickets:
                ticket.drop()
        return Outcome(predictor, target, rows)

    @property
    def pending(self) -> int:
        """Images being decoded or waiting for a model. Any thread may ask."""
        return self._residents.pending()

    def models(self) -> tuple[int, int]:
        """How many checkpoints can answer, and how many are on their way. Any thread may ask."""
        return self._residents.counts()

    def memory_bytes(self) -> int:
        """What the models in memory take. Any thread may ask."""
        return self._residents.used_bytes()

    def close(self) -> None:
        """Finish what the models have under way; end threads and decoders."""
        self._closed = True
        self._owner.close()
        self._residents.close()
        self.decoders.close()

    async def _loaded(self, resident: Resident[Predictor]) -> Predictor:
        if not resident.ready:
            self.decoders.warm()
            # Shielded: a client that goes away must not cancel the loading others wait for.
            await asyncio.shield(asyncio.wrap_future(resident.loading))
        return resident.loading.result()

    async def _bring(self, predictor: Predictor, image: Encoded, ticket: Ticket[Any, Row]) -> None:
        try:
            pixels = await self.decoders.decode(
                image.content, image.name, predictor.fit, predictor.depth, ticket.wanted
            )
            if pixels is None:
                return
            if predictor.fit is None:
                ticket.put(await asyncio.to_thread(predictor.prepare, pixels))
            else:
                ticket.put(predictor.prepare(pixels))
        except UnreadableImage as error:
            ticket.settle(error)
        # Whatever it is, it belongs to the request.
        except BaseException as error:
            gone = self._closed and isinstance(error, DecoderFailure)
            ticket.fail(Busy() if gone else error)
            if not isinstance(error, Exception):
                raise

    def _queue(self, loading: Future[Predictor]) -> Batcher[Any, Row]:
        def run(prepared: Sequence[Any]) -> Sequence[Row]:
            started = time.perf_counter()
            logits_NC, features_ND = loading.result().outputs(prepared)
            self._on_batch(len(prepared), time.perf_counter() - started)
            return list(map(Scored, logits_NC, features_ND))

        return Batcher(
            self._owner,
            run,
            batch=self._batch,
            wait_seconds=self._wait_seconds,
            capacity=self._capacity,
            on_wait=self._on_wait,
        )
