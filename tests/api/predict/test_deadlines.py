"""Answers that nobody wants any more are not computed: too late, or the client has hung up."""

from __future__ import annotations

import http.client
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import state_of
from tests.api.inference.test_swap import until
from tests.api.operations.test_metrics import value
from tests.api.predict.test_predict import png
from tests.api.rows import add_checkpoint
from tests.api.serving import Slow, listening, replace_engine

REFUSED = "carot_prediction_images_refused_total"
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ndigits\r\n'
    b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
    + png(255)
    + b"\r\n--x--\r\n"
)


class Held:
    """A service whose only model is at work until its gate opens."""

    def __init__(self, client: TestClient, *, warm: bool = True, **settings: Any) -> None:
        self.client = client
        self.model = Slow()
        self.context = replace_engine(client, lambda _: self.model, **settings)
        checkpoint = add_checkpoint(self.context, b"a", ("dark", "bright"))
        client.put("/models/digits", json={"checkpoint": checkpoint})
        if warm:
            self.model.gate.set()
            assert self.ask().status_code == 200  # the model is in memory, and decoders are there
            self.model.gate.clear()
            self.model.entered.clear()
            self.model.passes.clear()

    def ask(self, **headers: str) -> Any:
        files = {"images": ("x.png", png(255))}
        return self.client.post("/predict", files=files, data={"model": "digits"}, headers=headers)

    @property
    def pending(self) -> int:
        return int(state_of(self.client).predictions.engine.pending)


@pytest.fixture
def held(client: TestClient) -> Held:
    return Held(client)


def test_a_request_can_say_how_long_it_waits(held: Held) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(held.ask)
        assert held.model.entered.wait(30)
        answer = held.ask(**{"X-Deadline-Ms": "50"})
        assert answer.status_code == 504
        assert answer.json()["code"] == "deadline"
        assert value(held.client, REFUSED, reason="deadline") == 1
        assert held.pending == 0
        held.model.gate.set()
        assert first.result(30).status_code == 200
    assert held.ask(**{"X-Deadline-Ms": "60000"}).status_code == 200
    assert sum(held.model.passes) == 2  # the late one never came to the model


def test_no_request_takes_longer_than_the_setting(client: TestClient) -> None:
    held = Held(client, warm=False, deadline_seconds=0.05)
    answer = held.ask(**{"X-Deadline-Ms": "60000"})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline")
    held.model.gate.set()


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1e3", "99999999999"])
def test_a_deadline_that_is_none(held: Held, text: str) -> None:
    answer = held.ask(**{"X-Deadline-Ms": text})
    assert answer.status_code == 422
    assert "X-Deadline-Ms" in answer.json()["errors"][0]["field"]
    held.model.gate.set()


def test_a_request_whose_client_hangs_up_is_dropped(held: Held) -> None:
    with listening(held.client) as port, ThreadPoolExecutor(1) as pool:
        first = pool.submit(held.ask)
        assert held.model.entered.wait(30)
        for hang_up in (http.client.HTTPConnection.close, _reset):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            connection.request("POST", "/predict", FORM, headers)
            until(lambda: held.pending == 1)
            hang_up(connection)
            until(lambda: held.pending == 0)
        assert value(held.client, REFUSED, reason="gone") == 2
        held.model.gate.set()
        assert first.result(30).status_code == 200
    assert held.model.passes == [1]


def _reset(connection: http.client.HTTPConnection) -> None:
    assert connection.sock is not None
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_request_that_is_sent_slowly_is_not_taken_for_one_that_has_gone(held: Held) -> None:
    held.model.gate.set()
    with listening(held.client) as port, ExitStack() as stack:
        connection = stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port)))
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", str(len(FORM)))
        connection.endheaders()
        for start in range(0, len(FORM), 40):
            connection.send(FORM[start : start + 40])
            time.sleep(0.01)
        assert connection.getresponse().status == 200
