"""The client against a server that misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from cli.client import Client, ServiceError


class Handler(BaseHTTPRequestHandler):
    """Answers what the test wrote down."""

    answers: ClassVar[dict[str, tuple[int, str, str]]] = {}
    streams: ClassVar[list[str]] = []
    last_ids: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/stream"):
            self.last_ids.append(self.headers.get("Last-Event-ID"))
            status, kind, body = 200, "text/event-stream", self.streams.pop(0)
        else:
            status, kind, body = self.answers[path]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def client() -> Iterator[Client]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Handler.answers.clear()
    Handler.streams.clear()
    Handler.last_ids.clear()
    try:
        with Client(f"http://127.0.0.1:{server.server_address[1]}") as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_problem_becomes_words(client: Client) -> None:
    problem = {
        "title": "Invalid request",
        "status": 422,
        "detail": "training.epochs: too few (and 1 more)",
        "errors": [
            {"field": "training.epochs", "message": "too few"},
            {"field": "dataset", "message": "no such data set"},
        ],
    }
    Handler.answers["/jobs"] = (422, "application/problem+json", json.dumps(problem))
    with pytest.raises(ServiceError) as caught:
        client.post("/jobs", {})
    assert str(caught.value).splitlines() == [
        "Invalid request (422): training.epochs: too few (and 1 more)",
        "  dataset: no such data set",
    ]


def test_an_error_that_is_no_problem(client: Client) -> None:
    Handler.answers["/jobs"] = (502, "text/html", "<h1>Bad gateway</h1>")
    with pytest.raises(ServiceError, match="502 from"):
        client.get("/jobs")


def test_nobody_listens() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServiceError, match="carot up"):
        client.get("/jobs")


def test_a_broken_stream_is_taken_up_behind_the_last_event(client: Client) -> None:
    Handler.answers["/jobs/j"] = (200, "application/json", '{"state": "running"}')
    Handler.streams += [
        ': ping\n\nevent: step_done\ndata: {"a": 1}\nid: 1\n\nevent: progress\ndata: {"p": 1}\n\n',
        'event: succeeded\ndata: {"a": 2}\nid: 2\n\n',
    ]
    seen = []
    for item in client.watch("j"):
        seen.append((item["event"], item["id"]))
        if item["id"] == "2":
            Handler.answers["/jobs/j"] = (200, "application/json", '{"state": "succeeded"}')
    assert seen == [("step_done", "1"), ("progress", None), ("succeeded", "2")]
    assert Handler.last_ids == [None, "1"]


def test_pages_are_followed_up_to_the_limit(client: Client) -> None:
    page = {"data": [{"id": 1}, {"id": 2}], "next_cursor": "x"}
    Handler.answers["/jobs"] = (200, "application/json", json.dumps(page))
    assert len(client.pages("/jobs", limit=4)) == 4
