"""The service as seen by an ordinary client: HTTP in, plain dictionaries out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from carot.specs.base import OnCopies
from cli.credentials import api_key

Document = dict[str, Any]
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
MEDIA_TYPES = {".zip": "application/zip", ".tar": "application/x-tar"}
BLOCK = 1 << 20


class ServiceError(Exception):
    """The service said no, or did not say anything. The text is for people."""

    def __init__(self, message: str, problem: Document | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class Client:
    """One service. Every method returns the decoded JSON body or raises `ServiceError`.

    Args:
        key: shown with each request; by default what `cli.credentials` finds.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 60.0) -> None:
        self.url = url.rstrip("/")
        shown = key or api_key()
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {shown}"} if shown else {},
            timeout=httpx.Timeout(timeout, connect=5.0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **parameters: object) -> Document:
        """GET a document; parameters that are None are left out."""
        given = {k: v for k, v in parameters.items() if v is not None}
        return self._call("GET", path, params=given)

    def post(self, path: str, body: Document | None = None, *, key: str | None = None) -> Document:
        """POST a document; `key` is an idempotency key."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._call("POST", path, json=body, headers=headers)

    def put(self, path: str, body: Document) -> Document:
        """PUT a document."""
        return self._call("PUT", path, json=body)

    def patch(self, path: str, body: Document) -> Document:
        """PATCH a resource."""
        return self._call("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """DELETE a resource."""
        self._call("DELETE", path)

    def pages(self, path: str, *, limit: int, **parameters: object) -> list[Document]:
        """The first `limit` items of a list, over as many pages as that takes."""
        items: list[Document] = []
        cursor: str | None = None
        while len(items) < limit:
            size = min(200, limit - len(items))
            page = self.get(path, cursor=cursor, limit=size, **parameters)
            items += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return items

    def upload(
        self,
        archive: Path,
        name: str,
        advance: Any = lambda size: None,
        copies: OnCopies = "leave_out",
    ) -> Document:
        """Stream an archive file; `advance` is told the size of each block sent."""

        def blocks() -> Iterator[bytes]:
            with archive.open("rb") as file:
                while block := file.read(BLOCK):
                    yield block
                    advance(len(block))

        media_type = MEDIA_TYPES.get(archive.suffix.lower(), "application/gzip")
        headers = {
            "Content-Type": media_type,
            "Content-Length": str(archive.stat().st_size),
        }
        return self._call(
            "POST",
            "/datasets",
            params={"name": name, "copies": copies},
            content=blocks(),
            headers=headers,
            # The archive is checked image by image before the answer comes.
            timeout=httpx.Timeout(3600.0, connect=5.0),
        )

    def download(self, path: str, target: Path, advance: Any = lambda size: None) -> None:
        """Stream a file to `target`, which is there once it is whole."""
        temporary = target.with_name(f".{target.name}.part")
        timeout = httpx.Timeout(300.0, connect=5.0)
        try:
            with self._explained(), self._http.stream("GET", path, timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    _raise(response)
                with temporary.open("wb") as file:
                    for block in response.iter_raw(BLOCK):
                        file.write(block)
                        advance(len(block))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def predict(
        self,
        images: Sequence[tuple[str, bytes]],
        *,
        model: str | None = None,
        checkpoint: str | None = None,
        **asked: Any,
    ) -> Document:
        """Classify encoded images, each given as (name, bytes).

        Args:
            asked: other fields of the request, such as `top_k` or `coverage`.
        """
        files = [("images", (name, content)) for name, content in images]
        data = {"model": model, "checkpoint": checkpoint, **asked}
        given = {k: v for k, v in data.items() if v is not None}
        return self._call(
            "POST", "/predict", files=files, data=given, timeout=httpx.Timeout(300.0, connect=5.0)
        )

    def labels(self, content: bytes, media_type: str) -> Document:
        """Give many labels, as CSV or lines of JSON."""
        headers = {"Content-Type": media_type}
        return self._call("POST", "/labels", content=content, headers=headers)

    def watch(self, job_id: str) -> Iterator[Document]:
        """A job's stream until it ends: items are {"event": name, "id": seq or None, "data": …}.

        A stream that breaks off is taken up again behind the last event seen.
        """
        last: str | None = None
        failures = 0
        while True:
            headers = {"Last-Event-ID": last} if last else {}
            try:
                for item in self._stream(f"/jobs/{job_id}/events/stream", headers):
                    failures = 0
                    last = item["id"] or last
                    if item["event"] == "end":
                        return
                    yield item
            except httpx.TransportError as error:
                failures += 1
                if failures > 5:
                    raise ServiceError(f"lost the stream of {job_id}: {error}") from error
                time.sleep(0.5 * failures)
                continue
            if self.get(f"/jobs/{job_id}")["state"] in TERMINAL:
                return

    def wait_until_ready(self, seconds: float) -> bool:
        """Whether `/health/ready` says yes within the time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self._http.get("/health/ready", timeout=2.0).status_code == 200:
                    return True
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        return False

    def _stream(self, path: str, headers: dict[str, str]) -> Iterator[Document]:
        timeout = httpx.Timeout(5.0, read=60.0)
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.is_error:
                response.read()
                _raise(response)
            event, identity, data = "message", None, ""
            for line in response.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    event = value
                elif field == "id":
                    identity = value
                elif field == "data":
                    data += value
                elif not line and data:
                    yield {"event": event, "id": identity, "data": json.loads(data)}
                    event, identity, data = "message", None, ""

    def _call(self, method: str, path: str, **options: Any) -> Document:
        with self._explained():
            response = self._http.request(method, path, **options)
        if response.is_error:
            _raise(response)
        document: Document = response.json() if response.content else {}
        return document

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise ServiceError(
                f"no service answers at {self.url}; start one with `carot up`, or name another "
                "with --url or CAROT_URL"
            ) from error
        except httpx.TransportError as error:
            raise ServiceError(f"{self.url}: {str(error) or type(error).__name__}") from error
        except httpx.InvalidURL as error:
            raise ServiceError(f"{self.url}: not a URL ({error})") from error


def _raise(response: httpx.Response) -> None:
    """Turn a problem document into words: the headline, then each field."""
    try:
        problem = response.json()
        lines = [f"{problem['title']} ({problem['status']}): {problem['detail']}"]
        others = [e for e in problem.get("errors", []) if e["message"] not in problem["detail"]]
        lines += [f"  {e['field']}: {e['message']}" for e in others[:20]]
        if problem["status"] == 401:
            lines.append("  set CAROT_API_KEY, or name a file that holds the key with --key-file")
    except (ValueError, KeyError, TypeError):
        problem, lines = None, [f"{response.status_code} from {response.url}"]
    raise ServiceError("\n".join(lines), problem)
