"""Which architectures and weights open_clip knows, read from its files without importing torch."""

from __future__ import annotations

import ast
import difflib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

BUNDLED = "carot-mini"
QUICK_GELU = "-quickgelu"


@cache
def architectures() -> frozenset[str]:
    """Every name that `model.architecture` takes."""
    names = {path.stem for path in (_package() / "model_configs").glob("*.json")}
    return frozenset({BUNDLED, *names})


def weights(architecture: str) -> frozenset[str] | None:
    """The tags that `model.pretrained` takes for an architecture; None when they are not known."""
    return _tables().get(architecture.removesuffix(QUICK_GELU))


def similar(name: str, known: frozenset[str]) -> str:
    """A sentence with similar names, for a name that was mistyped."""
    close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _package() -> Path:
    spec = find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("open_clip is not installed")
    return Path(spec.submodule_search_locations[0])


@cache
def _tables() -> dict[str, frozenset[str]]:
    """open_clip's table of weights: a literal whose values are `dict(tag=…)` calls or their names.

    A table written in another way gives an empty answer here, and the job itself then says what
    is wrong with its tag.
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
    found: dict[str, frozenset[str]] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        call = named.get(value.id) if isinstance(value, ast.Name) else value
        if isinstance(key, ast.Constant) and isinstance(call, ast.Call):
            found[str(key.value)] = frozenset(k.arg for k in call.keywords if k.arg)
    return found
