"""Presets: method and training constants by one word, read from `recipes/*.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from carot.errors import SpecError
from carot.specs.methods import Method
from carot.specs.selection import SelectionSpec
from carot.specs.training import TrainingOptions

DEFAULT = "carot"
"""What a fine-tuning job gets that names neither a preset nor a method."""

SECTIONS = ("method", "training", "selection", "model")


@cache
def preset_names() -> tuple[str, ...]:
    """Every preset, sorted."""
    files = resources.files("recipes").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


@cache
def preset(name: str) -> Mapping[str, Any]:
    """A recipe: `description`, `source`, and some of `method`, `training`, `selection`, `model`.

    Raises:
        SpecError: there is none of this name; `field` is "preset".
    """
    if name not in preset_names():
        raise SpecError(
            f"no preset {name[:80]!r}; there are {', '.join(preset_names())}", field="preset"
        )
    text = (resources.files("recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def with_preset(document: Any) -> Any:
    """A spec's document with its preset filled in under what the document itself says.

    One that names neither preset nor method gets the default. One that leaves nothing to fill in,
    as dumps do, is the same whatever has become of its preset.

    Raises:
        ValidationError: no such preset (at `preset`), or the document names another method than
            the preset (at `method.name`).
    """
    if not isinstance(document, Mapping):
        return document
    if document.get("preset") is None and document.get("method") is None:
        document = {**document, "preset": DEFAULT}
    if not isinstance(document.get("preset"), str) or _says_all(document):
        return document
    try:
        recipe = preset(document["preset"])
    except SpecError as error:
        raise _refused(document["preset"], error.message, "preset") from None
    given = _name(document.get("method"))
    if given is not None and "method" in recipe and given != recipe["method"]["name"]:
        message = (
            f"preset {document['preset']} is for method {recipe['method']['name']}, "
            f"not {given}; leave one of them out"
        )
        raise _refused(given, message, "method", "name")
    sections = {name: recipe[name] for name in SECTIONS if name in recipe}
    if document.get("model") is not None:
        sections.pop("model", None)  # a model is one choice, not a set of defaults
    return _merged(sections, document)


class _Filled(BaseModel):
    """What presets fill in. Of a model they fill in all or nothing."""

    method: Method
    training: TrainingOptions
    selection: SelectionSpec
    model: Any = Field(exclude=True)


def _says_all(document: Mapping[str, Any]) -> bool:
    try:
        given = _Filled.model_validate(document)
    except ValidationError:  # something is missing, or wrong and refused later
        return False
    return given.model_dump(exclude_unset=True) == given.model_dump()


def _refused(value: str, message: str, *place: str) -> ValidationError:
    """An error at a place within the document; a plain ValueError would blame the whole of it."""
    error = PydanticCustomError("preset", "{message}", {"message": message})
    details = InitErrorDetails(type=error, loc=place, input=value)
    return ValidationError.from_exception_data("preset", [details])


def _name(method: Any) -> str | None:
    name = method.get("name") if isinstance(method, Mapping) else getattr(method, "name", None)
    return name if isinstance(name, str) else None


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under) | dict(over)
    for key in under.keys() & over.keys():
        below, above = under[key], over[key]
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            result[key] = _merged(below, above)
    return result
