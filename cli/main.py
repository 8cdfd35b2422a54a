"""The `carot` command: its subcommands, and one place where errors become words.

Modules are imported where they are used: `carot --help` must not wait for torch or SQLAlchemy.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from cli.credentials import KeyFile, NoKeyInFile
from cli.options import INTERRUPTED

COMMANDS = {
    "up": ("cli.up", "up"),
    "demo": ("cli.demo", "demo"),
    "train": ("cli.local", "train"),
    "evaluate": ("cli.local", "evaluate"),
    "run": ("cli.local", "run"),
    "predict": ("cli.predict", "predict"),
    "backup": ("cli.backup", "backup"),
    "restore": ("cli.backup", "restore"),
    "workers": ("cli.workers", "workers"),
}
GROUPS = ("datasets", "jobs", "keys", "labels", "models", "presets", "webhooks")
TERMINATED = 143

app = typer.Typer(
    name="carot",
    help="Fine-tune CLIP models so that they stay accurate and calibrated under shift.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A file with the API key for the service. Without it CAROT_API_KEY is the key, or "
            "CAROT_API_KEY_FILE the file.",
        ),
    ] = None,
) -> None:
    KeyFile.chosen = key_file


def _build() -> None:
    for name, (module, function) in COMMANDS.items():
        app.command(name)(getattr(import_module(module), function))
    for name in GROUPS:
        app.add_typer(import_module(f"cli.{name}").app, name=name)


_build()


def main() -> None:
    """Run the command and leave with its status: 1 for an error, 2 for wrong usage."""
    from carot import threads
    from carot.errors import CarotError
    from cli.client import ServiceError
    from cli.embedded import CannotStart
    from cli.output import fail

    threads.prepare()
    # What was started is stopped on the way out, as it is for Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except CarotError as error:
        named = error.field is None or error.message.startswith(error.field)
        where = "" if named else f"{error.field}: "
        fail(where + error.message)
    except (ServiceError, CannotStart, NoKeyInFile) as error:
        fail(str(error))
    except BrokenPipeError:
        sys.stderr.close()
    sys.exit(1)


if __name__ == "__main__":
    main()
