"""Which architectures and weights there are, read from open_clip's files; without torch."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from carot.models.families import Family, family_of
from carot.models.mini import MODEL_FOLDERS

QUICK_GELU = "-quickgelu"


@cache
def architectures() -> frozenset[str]:
    """Every name that `model.architecture` takes."""
    names = {path.stem for path in _configurations().glob("*.json")}
    return frozenset({*MODEL_FOLDERS, *names})


@cache
def family(architecture: str) -> Family:
    """What an architecture has and lacks; one of `architectures()`."""
    if architecture in MODEL_FOLDERS:
        folder = MODEL_FOLDERS[architecture]
        config = _read(folder / "open_clip_config.json")["model_cfg"]
    else:
        config = _read(_configurations() / f"{architecture}.json")
    return family_of(config)


def weights(architecture: str) -> frozenset[str] | None:
    """The tags that `model.pretrained` takes for an architecture; None when they are not known.

    As in open_clip, a `-quickgelu` name takes its sibling's tags that were trained with QuickGELU.
    """
    tables = _tables()
    if not tables:
        return None
    of_sibling = tables.get(architecture.removesuffix(QUICK_GELU), {})
    if architecture.endswith(QUICK_GELU):
        return frozenset(tag for tag, quick_gelu in of_sibling.items() if quick_gelu)
    return frozenset(of_sibling)


def pairs() -> Iterator[tuple[str, str | None]]:
    """Every architecture with each of its tags, in order; the bundled models first."""
    for name in MODEL_FOLDERS:
        yield name, None
    for name in sorted(architectures() - MODEL_FOLDERS.keys()):
        for tag in sorted(weights(name) or ()):
            yield name, tag


def similar(name: str, known: frozenset[str]) -> str:
    """A sentence with similar names, for a name that was mistyped."""
    close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _configurations() -> Path:
    return _package() / "model_configs"


def _package() -> Path:
    spec = find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("open_clip is not installed")
    return Path(spec.submodule_search_locations[0])


@cache
def _tables() -> dict[str, dict[str, bool]]:
    """open_clip's table of weights: tags of each architecture, and whether they are of QuickGELU.

    It is a literal whose values are `dict(tag=…)` calls or their names. A table written in another
    way gives an empty answer here, and the job itself then says what is wrong with its tag.
    """
    tree = ast.parse((_package() / "pretrained.py").read_text(encoding="utf-8"))
    named: dict[str, ast.expr] = {
        statement.targets[0].id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    table = named.get("_PRETRAINED")
    if not isinstance(table, ast.Dict):
        return {}
    found: dict[str, dict[str, bool]] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        call = named.get(value.id) if isinstance(value, ast.Name) else value
        if isinstance(key, ast.Constant) and isinstance(call, ast.Call):
            tags = {k.arg: _quick_gelu(k.value) for k in call.keywords if k.arg}
            found[str(key.value)] = tags
    return found


def _quick_gelu(weights_of_a_tag: ast.expr) -> bool:
    if not isinstance(weights_of_a_tag, ast.Call):
        return False
    given = {k.arg: k.value for k in weights_of_a_tag.keywords}
    value = given.get("quick_gelu")
    return isinstance(value, ast.Constant) and bool(value.value)
