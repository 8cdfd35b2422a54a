"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[str, typer.Option("--url", envvar="CAROT_URL", help="Where the service listens.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DataDir = Annotated[
    Path,
    typer.Option("--data-dir", envvar="CAROT_DATA_DIR", help="Where everything is kept."),
]
SpecFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="A spec as YAML or JSON.")
]
Preset = Annotated[
    str | None,
    typer.Option(help="A recipe of `carot presets list`; what the spec says takes precedence."),
]
DEFAULT_URL = "http://127.0.0.1:8000"
INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the signal's number, as shells have it."""
