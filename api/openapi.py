"""The OpenAPI document: what every operation may answer is said once, who may use it at each."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api.access.callers import COOKIE, CSRF_HEADER, declared_scopes, is_open
from api.web.problems import MEDIA_TYPE, ProblemDocument

CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
PROBLEM = {"description": "A problem, as RFC 9457 describes it.", "content": CONTENT}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


CHALLENGE = {"WWW-Authenticate": _header("What is missing, as RFC 6750 says it.")}
RESPONSES: dict[str, dict[str, Any]] = {
    "401": {
        "description": "No key, or one that is unknown, wrong, revoked or expired; or the session "
        "has ended.",
        "headers": CHALLENGE,
        "content": CONTENT,
    },
    "403": {
        "description": "The key lacks the scope that this needs, or the request of a session lacks "
        "its CSRF token or comes from another site.",
        "headers": CHALLENGE,
        "content": CONTENT,
    },
    "429": {
        "description": "Too many requests, or too many wrong keys, from here within a minute.",
        "headers": {
            "Retry-After": _header("Seconds to wait."),
            "RateLimit": _header("What is left, and until when."),
            "RateLimit-Policy": _header("How much there is, of which window in seconds."),
        },
        "content": CONTENT,
    },
}
SCHEMES = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key: `key_….SECRET`.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "What POST /session gives. Requests that change something need "
        f"`{CSRF_HEADER}` as well.",
    },
}
NAMES = {"401": "Unauthenticated", "403": "Forbidden", "429": "TooManyRequests"}


def install(app: FastAPI) -> None:
    """Put problems in the place of FastAPI's own error shapes."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            schemas = schema["components"]["schemas"]
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(problem.pop("$defs", {}))
            schemas["ProblemDocument"] = problem
            responses = {NAMES[status]: RESPONSES[status] for status in NAMES}
            schema["components"]["responses"] = responses
            for path in schema["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
                    operation["responses"]["default"] = PROBLEM
                    _share_definitions(operation, schemas)
            _say_who_may(app, schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _share_definitions(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """What bodies that a route describes itself are made of, where references find it."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if "$defs" in content["schema"]:
            whole = json.dumps(content["schema"]).replace('"#/$defs/', '"#/components/schemas/')
            content["schema"] = json.loads(whole)
            schemas.update(content["schema"].pop("$defs"))


def _say_who_may(app: FastAPI, schema: dict[str, Any]) -> None:
    schema["components"]["securitySchemes"] = SCHEMES
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = schema["paths"].get(route.path, {}).get(method.lower())
            if operation is None:
                continue
            for status in NAMES if not is_open(route) else ("429",):
                reference = {"$ref": f"#/components/responses/{NAMES[status]}"}
                operation["responses"].setdefault(status, reference)
            if not is_open(route):
                # Only OAuth knows scopes here; other schemes may name roles (OpenAPI 3.1). One of
                # several is enough.
                alternatives = [[scope] for scope in sorted(declared_scopes(route))] or [[]]
                operation["security"] = [
                    {scheme: scopes} for scopes in alternatives for scheme in SCHEMES
                ]
