"""From a document, as JSON or YAML hold it, to a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from carot.errors import SpecError
from carot.specs.model import ModelSpec
from carot.specs.runs import KINDS, AnySpec, RunSpec

_ANY: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)


def parse_spec(document: Mapping[str, Any]) -> AnySpec:
    """The spec that a document describes, as a job's body over HTTP does.

    Without `kind` it is a fine-tuning; `name` and `alias`, which only the service knows, are
    passed over.

    Raises:
        SpecError: it is none; `field` says which field is at fault.
    """
    known = {name: value for name, value in document.items() if name not in ("name", "alias")}
    try:
        return _ANY.validate_python({"kind": "finetune", **known})
    except ValidationError as error:
        raise _first(error) from error


def parse_model(document: Mapping[str, Any]) -> ModelSpec:
    """The same of a model alone.

    Raises:
        SpecError: the document describes none; `field` says which field is at fault.
    """
    try:
        return ModelSpec.model_validate(document)
    except ValidationError as error:
        raise _first(error) from error


def _first(error: ValidationError) -> SpecError:
    """The first of what is wrong, as an error of ours."""
    first = error.errors()[0]
    field = ".".join(str(p) for i, p in enumerate(first["loc"]) if i or p not in KINDS)
    return SpecError(first["msg"].removeprefix("Value error, "), field=field)
