"""`carot jobs predictions`; test_local.py has `carot run` with a `predict` spec."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.client import Client, ServiceError
from tests.cli.test_commands import carot

CONTENT = bytes(range(256)) * 20_000


class Handler(BaseHTTPRequestHandler):
    """A file; for a job of another name a problem, for a third half a file."""

    def do_GET(self) -> None:
        problem = {"title": "Not found", "status": 404, "detail": "no predictions 'job_b'"}
        found = "job_a" in self.path or "job_c" in self.path
        body = CONTENT if found else json.dumps(problem).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if "job_c" in self.path else body)

    def log_message(self, format: str, *args: object) -> None:
        return None


@contextmanager
def serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "p.parquet"
    sizes: list[int] = []
    with serving() as url, Client(url) as client:
        client.download("/jobs/job_a/predictions", target, sizes.append)
        assert target.read_bytes() == CONTENT
        assert sum(sizes) == len(CONTENT)
        for job in ("job_b", "job_c"):
            with pytest.raises(ServiceError):
                client.download(f"/jobs/{job}/predictions", target)
    assert target.read_bytes() == CONTENT, "what stood there still does"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    target = tmp_path / "p.parquet"
    with serving() as url:
        done = carot("jobs", "predictions", "job_a", "-o", str(target), "--url", url)
        refused = carot("jobs", "predictions", "job_b", "-o", str(target), "--url", url)
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == CONTENT
    assert refused.returncode == 1
    assert "no predictions" in refused.stderr
