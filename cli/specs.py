"""Spec files: YAML or JSON on disk to a plain document."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
import yaml


def read_document(path: Path, preset: str | None = None) -> dict[str, Any]:
    """The mapping in a YAML or JSON file, with a preset in the place of the one it names.

    Raises:
        typer.BadParameter: it cannot be read as one.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = _Loader(text).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: not YAML: {error}") from error
    if not isinstance(document, dict):
        raise typer.BadParameter(f"{path}: a spec is a mapping such as `kind: finetune`")
    document.setdefault("kind", "finetune")
    if preset is not None:
        document["preset"] = preset
    return document


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 5e-4 for text, since its floats need a dot; people mean the number."""


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


EXPONENT = re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("!exponent", EXPONENT, list("-+0123456789"))
_Loader.add_constructor("!exponent", _number)
