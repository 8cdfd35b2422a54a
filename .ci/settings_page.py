"""Writes docs/settings.md from the settings classes; `make settings` calls it.

The page shows declared defaults only, never what this machine's environment says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from api.settings import ApiSettings  # noqa: E402 - found by the path above
from cli.credentials import FILE_VARIABLE, VARIABLE  # noqa: E402
from store.settings import Settings  # noqa: E402

PAGE = ROOT / "docs" / "settings.md"
COLUMNS = ("variable", "type", "default", "what it is", "read by")
HEAD = (
    "# Settings\n\n"
    "Settings are environment variables. Unknown ones are ignored, empty ones count as not given, "
    "and a process does not start with a value that is out of range. `docker-compose.yml` sets "
    "some of them, partly from `.env` ([deployment.md](deployment.md)).\n\n"
    "This page is written by `make settings` from `store/settings.py` and `api/settings.py`."
)
SHARED = (
    "API, workers and commands that belong together need the same database, broker and artifact "
    "store. Without servers they share one data folder; with Postgres and Redis each process may "
    "have its own."
)
COMMANDS = (
    ("CAROT_URL", "text", "`http://127.0.0.1:8000`", "Where the service listens (`--url`)."),
    (VARIABLE, "text", "", "The key that commands show to the service."),
    (FILE_VARIABLE, "path", "", "A file that holds this key (`--key-file`)."),
)
"""What only the command line reads, from no settings class."""
READERS = {
    "data_dir": "API, worker, `carot`",
    "database_url": "API, worker, `carot`",
    "artifacts_url": "API, worker, `carot`",
    "host": "API, `carot up`",
    "port": "API, `carot up`",
    "max_upload_bytes": "API",
    "default_queue": "API",
    "max_attempts": "API",
    "queues": "worker",
    "cancel_grace_seconds": "worker",
}
"""Who reads a shared setting, where it is not API and worker."""
NAMES = {str: "text", int: "integer", float: "number", bool: "`true` or `false`", Path: "path"}
COMPUTED = {
    "database_url": "SQLite in the data folder",
    "artifacts_url": "folder on SQLite, `database:` on Postgres",
    "decode_processes": "number of cores, at most 8",
}
"""Defaults that depend on other settings or on the machine."""


def page() -> str:
    """The whole page."""
    shared = Settings.model_fields
    own = {name: f for name, f in ApiSettings.model_fields.items() if name not in shared}
    parts = [
        HEAD,
        "## Shared settings",
        SHARED,
        _table(_row(name, field, _reader(name)) for name, field in shared.items()),
        "## Settings of the API",
        _table(_row(name, field, "API") for name, field in own.items()),
        "## Settings of the command line",
        _table((f"`{name}`", *cells, "`carot`") for name, *cells in COMMANDS),
    ]
    return "\n\n".join(parts) + "\n"


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(name: str, field: FieldInfo, reader: str) -> Sequence[str]:
    description = " ".join((field.description or "").split()).replace("|", "\\|")
    return f"`CAROT_{name.upper()}`", _type(field), _default(name, field), description, reader


def _reader(name: str) -> str:
    return READERS.get(name, "API, worker")


def _type(field: FieldInfo) -> str:
    annotation = field.annotation
    limits = []
    for bound in field.metadata:
        for sign, attribute in (("≥", "ge"), (">", "gt"), ("≤", "le"), ("<", "lt")):
            if (value := getattr(bound, attribute, None)) is not None:
                limits.append(f"{sign} {value:g}" if value < 1e6 else f"{sign} {value}")
    return ", ".join([_named(annotation), *limits])


def _named(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _named(get_args(annotation)[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, UnionType):
        return " or ".join(_named(a) for a in get_args(annotation) if a is not NoneType)
    if origin in (tuple, frozenset):
        return f"list of {_named(get_args(annotation)[0])}"
    return NAMES[annotation]


def _default(name: str, field: FieldInfo) -> str:
    if name in COMPUTED:
        return COMPUTED[name]
    value = field.default
    if value is None or value in ("", frozenset()):
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(f'{v:g}' if isinstance(v, float) else str(v) for v in value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`" if value < 1e6 else f"`{value:.0f}`"
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
