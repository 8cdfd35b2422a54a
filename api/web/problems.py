"""Every error as one RFC 9457 problem document, and the one table that says which is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from carot import errors as carot
from store import errors as store
from store.artifacts.base import NO_SPACE

MEDIA_TYPE = "application/problem+json"
PROTOCOL = "/v2"
"""Beneath it problems have `error` as well, which is what the inference protocol calls them."""
log = structlog.get_logger("api")


class FieldError(BaseModel):
    """One thing that is wrong, and where."""

    field: str = Field(description="Dotted path in the body, or the name of a parameter.")
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457 problem details, with a stable `code` for programs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:carot:problem:invalid_request",
                    "title": "Invalid request",
                    "status": 422,
                    "detail": "training.learning_rate: Input should be greater than 0",
                    "instance": "/jobs",
                    "code": "invalid_request",
                    "errors": [
                        {
                            "field": "training.learning_rate",
                            "message": "Input should be greater than 0",
                        }
                    ],
                    "request_id": "3f1c8e0c1b6f4f0f",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldError] = []
    request_id: str


class Problem(HTTPException):
    """An error on its way to the client. An HTTPException, so that the framework lets it pass."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.status = status
        self.code = code
        self.errors = list(errors)


class NoContent(HTTPException):
    """Not an error: there is nothing to send, which is known before a route is entered."""

    def __init__(self) -> None:
        super().__init__(204)


def invalid(field: str, message: str, *, code: str = "invalid_request") -> Problem:
    """A 422 that names one field."""
    return Problem(422, code, f"{field}: {message}", errors=[(field, message)])


TITLES = {
    "bad_request": "Bad request",
    "invalid_json": "Body is not JSON",
    "unauthenticated": "Not signed in",
    "forbidden": "Forbidden",
    "not_found": "Not found",
    "gone": "Deleted",
    "method_not_allowed": "Method not allowed",
    "conflict": "Conflict",
    "request_timeout": "Body that stopped coming",
    "illegal_transition": "Not possible in this state",
    "too_large": "Content too large",
    "unsupported_media_type": "Unsupported media type",
    "range_not_satisfiable": "Range not satisfiable",
    "misdirected_request": "Unknown host",
    "invalid_request": "Invalid request",
    "invalid_data": "Data that cannot be used",
    "too_many_unreadable": "Too many unreadable images",
    "class_mismatch": "Class lists differ",
    "key_reused": "Idempotency key used for another request",
    "invalid_model": "Model that cannot be used",
    "too_many_requests": "Too many requests",
    "internal": "Internal error",
    "unavailable": "Temporarily unavailable",
    "busy": "Too busy",
    "client_gone": "The client has hung up",
    "deadline": "Too late",
    "no_space": "No space left",
    "artifact_corrupt": "Stored file is damaged",
    "artifact_missing": "Stored file is missing",
}

# Exception class -> (status, code). The first class in the exception's own order of bases wins.
TABLE: Mapping[type[Exception], tuple[int, str]] = {
    store.Gone: (410, "gone"),
    store.NotFound: (404, "not_found"),
    store.BadCursor: (422, "invalid_request"),
    store.UnknownClass: (422, "invalid_request"),
    store.IdempotencyConflict: (422, "key_reused"),
    store.IllegalTransition: (409, "illegal_transition"),
    store.Conflict: (409, "conflict"),
    store.NoSpace: (507, "no_space"),
    store.ArtifactCorrupt: (500, "artifact_corrupt"),
    store.ArtifactMissing: (500, "artifact_missing"),
    store.ArtifactError: (500, "internal"),
    store.StoreError: (500, "internal"),
    carot.TooManyUnreadable: (422, "too_many_unreadable"),
    carot.ClassMismatch: (422, "class_mismatch"),
    carot.DataError: (422, "invalid_data"),
    carot.SpecError: (422, "invalid_request"),
    carot.ModelError: (422, "invalid_model"),
    carot.CheckpointError: (500, "artifact_corrupt"),
    carot.CarotError: (422, "invalid_request"),
}

HTTP_CODES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    421: "misdirected_request",
    429: "too_many_requests",
    503: "unavailable",
}


def problem_of(error: Exception) -> Problem:
    """The problem that stands for an exception; 500 without details for one that is not ours."""
    if isinstance(error, Problem):
        return error
    for base in type(error).__mro__:
        if base in TABLE:
            status, code = TABLE[base]
            field = "cursor" if base is store.BadCursor else getattr(error, "field", None)
            message = str(error)
            names = getattr(error, "names", None)
            errors = [(field, message)] if field else []
            errors += [(field or "file", name) for name in (names or [])[:100]]
            return Problem(status, code, message, errors=errors)
    if isinstance(error, OperationalError):
        detail = "the database cannot be reached or used just now; try again"
        return Problem(503, "unavailable", detail, headers={"Retry-After": "1"})
    if isinstance(error, HTTPException):
        code = HTTP_CODES.get(error.status_code, "bad_request")
        return Problem(error.status_code, code, str(error.detail), headers=error.headers)
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return Problem(507, "no_space", "no space left on this server")
    return Problem(500, "internal", "Something went wrong here; the request id finds it in the log")


def document(problem: Problem, request_id: str, instance: str) -> dict[str, Any]:
    """The body of a problem."""
    return ProblemDocument(
        type=f"urn:carot:problem:{problem.code}",
        title=TITLES[problem.code],
        status=problem.status,
        detail=problem.detail,
        instance=instance,
        code=problem.code,
        errors=[FieldError(field=field, message=message) for field, message in problem.errors],
        request_id=request_id,
    ).model_dump()


def response_of(problem: Problem, scope: Mapping[str, Any]) -> Response:
    """A problem as the answer to the request of an ASGI scope."""
    request_id = scope.get("state", {}).get("request_id", "")
    path = scope.get("path", "")
    body = document(problem, request_id, path)
    if path == PROTOCOL or path.startswith(f"{PROTOCOL}/"):
        body["error"] = problem.detail
    return JSONResponse(
        body, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def install(app: FastAPI) -> None:
    """Answer known exceptions with problems; all others reach `RequestContext`."""

    async def on_nothing(request: Request, error: Exception) -> Response:
        return Response(status_code=204)

    async def on_error(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status == 405:
            problem.headers = {**(problem.headers or {}), "Allow": _allowed(request)}
        if isinstance(error, OperationalError):
            log.warning("database_away", path=request.url.path, error=str(error.orig))
        elif problem.status >= 500 and problem.code not in ("busy", "deadline", "unavailable"):
            log.error("request_failed", path=request.url.path, exc_info=error)
        return response_of(problem, request.scope)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return response_of(_problem_of_validation(request, error), request.scope)

    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(NoContent, on_nothing)
    for kind in (HTTPException, carot.CarotError, store.StoreError, OperationalError):
        app.add_exception_handler(kind, on_error)


def _allowed(request: Request) -> str:
    """Every method that the document has for the path; a route that is asked knows only its own."""
    paths = request.app.openapi()["paths"].items()
    known = {
        method.upper()
        for path, operations in paths
        if compile_path(path)[0].match(request.url.path)
        for method in operations
    }
    known = known or {"GET"}  # only the document itself is not in it
    return ", ".join(sorted(known | ({"HEAD"} if "GET" in known else set())))


def _problem_of_validation(request: Request, error: RequestValidationError) -> Problem:
    found = error.errors()
    first = found[0]
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return Problem(400, "invalid_json", f"the body is not JSON: {reason}")
    content_type = request.headers.get("content-type", "")
    if tuple(first["loc"]) == ("body",) and error.body is not None and "json" not in content_type:
        return Problem(
            415, "unsupported_media_type", "send JSON, with Content-Type: application/json"
        )
    errors = [(_field(e["loc"], error.body), e["msg"].removeprefix("Value error, ")) for e in found]
    field, message = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(422, "invalid_request", f"{field}: {message}{more}", errors=errors[:100])


def _field(location: Sequence[Any], body: object) -> str:
    """A dotted path without the tags that pydantic adds for members of tagged unions."""
    where, *parts = location
    if where != "body":
        return ".".join(str(part) for part in parts) or str(where)
    path: list[str] = []
    current = body
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(current, dict):
            if not last and part not in current and part in _strings(current):
                continue
            current = current.get(part)
        elif isinstance(current, list) and isinstance(part, int) and part < len(current):
            current = current[part]
        elif not last:
            continue
        path.append(str(part))
    return ".".join(path) or "body"


def _strings(body: dict[Any, Any]) -> set[str]:
    return {value for value in body.values() if isinstance(value, str)}
