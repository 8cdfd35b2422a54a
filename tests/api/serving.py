"""A real server on a real socket, whose models are as fast or slow as a test wants them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from api.context import Context
from api.inference.engine import Engine
from api.predict.state import PredictionsState
from tests.api.helpers import context_of, state_of
from tests.api.predict.test_predict import Brightness


@dataclass
class Slow(Brightness):
    """Takes its time; `logits` says which checkpoint it is."""

    offset: float = 0.0
    seconds: float = 0.002
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)  # somebody is at the gate
    passes: list[int] = field(default_factory=list)
    warmed: list[int] = field(default_factory=list)

    def warm_ups(self, batch: int) -> Sequence[Callable[[], None]]:
        return [lambda: self.warmed.append(1), lambda: self.warmed.append(batch)]

    def outputs(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.entered.set()
        assert self.gate.wait(60)
        time.sleep(self.seconds)
        self.passes.append(len(prepared))
        logits_NC, features_ND = super().outputs(prepared)
        return logits_NC + np.float32(self.offset), features_ND


@contextmanager
def listening(client: TestClient) -> Iterator[int]:
    """The application of a test client on a port of its own."""
    config = uvicorn.Config(
        client.app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    assert client.portal is not None
    # In the same event loop: an application has one.
    serving = client.portal.start_task_soon(server.serve)
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    serving.result(30)


def replace_engine(client: TestClient, load: Callable[[str], Any], **settings: Any) -> Context:
    """Let a context predict with other models."""
    predictions: PredictionsState = state_of(client).predictions
    predictions.engine.close()
    measures = predictions.measures
    predictions.engine = Engine(load, on_load=measures.load, on_batch=measures.batch, **settings)
    return context_of(client)
