"""The OpenAPI document: every operation may answer with a problem."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

from fastapi import FastAPI

from api.problems import MEDIA_TYPE, ProblemDocument

PROBLEM = {
    "description": "A problem, as RFC 9457 describes it.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
}


def version() -> str:
    """The version of the installed package."""
    try:
        return installed("carot")
    except PackageNotFoundError:
        return "0"


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
            for path in schema["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
                    operation["responses"]["default"] = PROBLEM
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
