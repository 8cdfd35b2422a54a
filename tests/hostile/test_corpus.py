"""Every hostile request gets what its case says, and nothing else happens.

Afterwards memory has grown by little, rows and files are what they were, and the service answers.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.hostile import pictures, tars, texts, wires, zips
from tests.hostile.cases import HUNG_UP, Case, Sent
from tests.hostile.conftest import PAUSE_SECONDS, Served, State, peak, reset_peak

pytestmark = pytest.mark.slow
CASES = [*zips.CASES, *tars.CASES, *pictures.CASES, *texts.CASES, *wires.CASES]
MOST_MEMORY = 128 << 20
"""What one request may add to the service's memory at any moment, the client's share included."""
MOST_DESCRIPTORS = 6
"""Of pools that open them when they are first needed."""


def test_the_corpus_is_a_corpus() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert len(names) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile(served: Served, case: Case) -> None:
    sent = case.make()
    before = served.state()
    memory = reset_peak()
    answer = send(served, sent)
    grown = peak() - memory
    assert answer.status_code == case.status, answer.text[:2000]
    if case.check is not None:
        case.check(answer)
    if case.problem and case.status >= 400:
        check_problem(served, case, answer)
    assert grown < MOST_MEMORY
    after = settled(served)
    for name, count in before.rows.items():
        allowed = 1 if name in case.kept else 0
        assert after.rows[name] - count == allowed, name
    if not case.kept:
        assert after.files == before.files
    assert after.temporary == before.temporary
    assert after.descriptors - before.descriptors <= MOST_DESCRIPTORS
    assert not Path(zips.MARKER).exists()
    assert served.client.get("/health/live").status_code == 200
    assert served.client.get("/jobs").status_code == 200


def settled(served: Served) -> State:
    """The state once no request is at work any more."""
    for _ in range(200):
        state = served.state()
        if not any(name.startswith("scratch/") for name in state.files):
            return state
        time.sleep(0.05)
    raise AssertionError("an upload has left files in the scratch folder")


def check_problem(served: Served, case: Case, answer: httpx.Response) -> None:
    """A problem document that names the field, and nothing of the machine."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == case.status
    if case.field is not None:
        assert problem["errors"][0]["field"] == case.field
    said = problem["detail"] + " ".join(e["message"] for e in problem["errors"])
    assert case.words in said
    assert str(served.folder) not in answer.text
    assert "Traceback" not in answer.text


def send(served: Served, sent: Sent) -> httpx.Response:
    """The answer to a request, over a socket in either case."""
    if sent.raw is None:
        return served.client.request(sent.method, sent.path, **sent.options)
    return speak(served.port, sent.raw)


def speak(port: int, pieces: Sequence[bytes | None]) -> httpx.Response:
    """What the server says to these bytes before it hangs up or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        try:
            for piece in pieces:
                if piece is None:
                    link.shutdown(socket.SHUT_WR)
                else:
                    link.sendall(piece)
                    time.sleep(0.01)
        except OSError:
            pass  # it hung up early, perhaps after an answer
        return parse(link)


def parse(link: socket.socket) -> httpx.Response:
    """The first response of a connection."""
    content = b""
    link.settimeout(60)
    try:
        while piece := link.recv(65536):
            content += piece
            head, found, rest = content.partition(b"\r\n\r\n")
            if not found:
                continue
            lines = head.decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            length = int(headers.get("content-length", 0))
            if len(rest) >= length:
                status = int(lines[0].split()[1])
                return httpx.Response(status, headers=headers, content=rest[:length])
    except OSError:
        pass
    return httpx.Response(HUNG_UP, content=content)


def test_bodies_that_trickle_hold_up_nobody_and_are_given_up(served: Served) -> None:
    """Forty at once, each silent after a few bytes."""
    before = served.state()
    head = wires.post(wires.TYPE, wires.length(b"5000"))
    links = [socket.create_connection(("127.0.0.1", served.port), 10) for _ in range(40)]
    try:
        for link in links:
            link.sendall(head + b"PK\3\4")
        assert served.client.get("/jobs").status_code == 200
        answers = [parse(link) for link in links]
    finally:
        for link in links:
            link.close()
    assert {answer.status_code for answer in answers} == {408}
    assert {answer.json()["code"] for answer in answers} == {"request_timeout"}
    assert settled(served).files == before.files


def test_who_waits_for_an_answer_may_be_silent(served: Served) -> None:
    """The limit on pauses is for bodies, not for the event streams behind them."""
    job = served.client.post("/jobs", json=texts.SPEC).json()["id"]
    cancel = threading.Timer(1.5 * PAUSE_SECONDS, served.client.post, (f"/jobs/{job}/cancel",))
    cancel.start()
    with served.client.stream("GET", f"/jobs/{job}/events/stream") as stream:
        said = b"".join(stream.iter_bytes())
    cancel.join()
    assert stream.status_code == 200
    assert b"cancelled" in said
