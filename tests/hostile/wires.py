"""Requests that lie about where they end: bytes for a socket."""

from __future__ import annotations

from collections.abc import Callable

from tests.hostile.cases import HUNG_UP, Case, Sent
from tests.hostile.zips import pets, zipped

HOST = b"Host: 127.0.0.1\r\n"
TYPE = b"Content-Type: application/zip\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"
TOO_MUCH = 9 << 20


def post(*headers: bytes, path: bytes = b"/datasets") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"".join(headers) + b"\r\n"


def length(number: bytes) -> bytes:
    return b"Content-Length: " + number + b"\r\n"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n" % len(content) + content + b"\r\n"


def archive() -> bytes:
    return zipped(pets())


def wire(name: str, make: Callable[[], list[bytes | None]], status: int, words: str = "") -> Case:
    """Answered by the API."""
    return Case(f"wire-{name}", lambda: Sent(raw=make()), status, words=words)


def no_http(name: str, make: Callable[[], list[bytes | None]], status: int = 400) -> Case:
    """Refused by the server before the API sees it, in plain text."""
    return Case(f"wire-{name}", lambda: Sent(raw=make()), status, problem=False)


def gone(name: str, make: Callable[[], list[bytes | None]]) -> Case:
    """Given up in the middle: there is nobody to answer, and nothing is left of it."""
    return Case(f"wire-{name}", lambda: Sent(raw=make()), HUNG_UP, problem=False)


def endless(pieces: int) -> list[bytes | None]:
    """Chunks without end, one megabyte each."""
    return [post(TYPE, CHUNKED), *[chunk(bytes(1 << 20))] * pieces]


CASES = [
    wire("length-too-small", lambda: [post(TYPE, length(b"100")), archive()], 422, "cut short"),
    gone("length-too-large", lambda: [post(TYPE, length(b"5000")), archive()[:300], None]),
    wire("length-huge", lambda: [post(TYPE, length(b"9" * 15))], 413),
    wire("length-beyond-the-limit", lambda: [post(TYPE, length(b"%d" % TOO_MUCH))], 413),
    wire("length-absent", lambda: [post(TYPE)], 400, "empty"),
    wire("length-zero", lambda: [post(TYPE, length(b"0"))], 400, "empty"),
    no_http("length-negative", lambda: [post(TYPE, length(b"-1")), b"x"]),
    no_http("length-no-number", lambda: [post(TYPE, length(b"0x10")), b"x"]),
    no_http("length-with-sign", lambda: [post(TYPE, length(b"+5")), b"hello"]),
    no_http("length-twice", lambda: [post(TYPE, length(b"5"), length(b"6")), b"hello!"]),
    no_http("length-of-thousand-digits", lambda: [post(TYPE, length(b"9" * 1000))]),
    wire("length-and-chunks", lambda: [
        post(TYPE, length(b"3"), CHUNKED), chunk(b"junk"), chunk(b"")
    ], 422, "not a zip"),
    wire("chunks-without-end", lambda: endless(10), 413),
    gone("chunks-cut-short", lambda: [post(TYPE, CHUNKED), chunk(b"PK\3\4"), None]),
    wire("chunks-tiny", lambda: [post(TYPE, CHUNKED), chunk(b"x") * 20_000 + chunk(b"")], 422),
    no_http("chunk-size-no-number", lambda: [post(TYPE, CHUNKED), b"zz\r\nhello\r\n"]),
    no_http("chunk-size-huge", lambda: [post(TYPE, CHUNKED), b"f" * 100 + b"\r\nhello\r\n"]),
    no_http("encoding-unknown", lambda: [post(TYPE, b"Transfer-Encoding: gzip\r\n"), b"x"]),
    no_http("encoding-twice", lambda: [post(TYPE, CHUNKED, CHUNKED), chunk(b"")]),
    no_http("header-with-null", lambda: [post(b"X: a\0b\r\n")]),
    no_http("header-without-colon", lambda: [post(b"nonsense\r\n")]),
    no_http("header-name-with-space", lambda: [post(b"Content-Length : 5\r\n"), b"hello"]),
    no_http("headers-endless", lambda: [
        b"GET /jobs HTTP/1.1\r\n" + HOST, *[b"X: y\r\n" * 1000] * 40
    ]),
    no_http("request-line-endless", lambda: [b"GET /" + b"x" * 200_000]),
    no_http("no-http", lambda: [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)]),
    no_http("no-version", lambda: [b"GET /jobs\r\n\r\n"]),
    no_http("no-host", lambda: [b"GET /jobs HTTP/1.1\r\n\r\n"]),
    wire("method-of-its-own", lambda: [b"DROP /jobs HTTP/1.1\r\n" + HOST + b"\r\n"], 405),
    wire("whole-address", lambda: [
        b"GET http://evil.example/nowhere HTTP/1.1\r\n" + HOST + b"\r\n"
    ], 404),
    wire("asterisk", lambda: [b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"], 404),
    gone("form-cut-short", lambda: [
        post(FORM, length(b"5000"), path=b"/predict"),
        b'--b\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\nhello', None,
    ]),
    wire("form-without-boundary", lambda: [
        post(b"Content-Type: multipart/form-data\r\n", length(b"5"), path=b"/predict"), b"hello"
    ], 400),
    wire("form-of-nothing", lambda: [
        post(FORM, length(b"5"), path=b"/predict"),
        b"hello",
    ], 400),
    gone("json-cut-short", lambda: [
        post(b"Content-Type: application/json\r\n", length(b"500"), path=b"/jobs"), b'{"a"', None
    ]),
]  # fmt: skip
