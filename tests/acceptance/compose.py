"""Reads docker-compose.yml the way Compose does, as far as that file goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?+])([^}]*))?\}")
Service = dict[str, Any]


class Unset(Exception):
    """A variable that the file insists on has no value."""


def load(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """The document with merges and variables resolved.

    Raises:
        Unset: for `${NAME:?…}` without a value.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    resolved: dict[str, Any] = _resolved(document, variables)
    return resolved


def dotenv(path: Path) -> dict[str, str]:
    """Names and values of a `.env` file."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _resolved(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _resolved(v, variables) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolved(each, variables) for each in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: _value(match, variables), value)
    return value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, operator, operand = match.groups()
    given = variables.get(name, "")
    if operator == ":+":
        return str(operand) if given else ""
    if given or operator is None:
        return given
    if operator == ":?":
        raise Unset(f"{name}: {operand}")
    return str(operand)
