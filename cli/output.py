"""What the command prints: tables and bars for people, one JSON document for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

out = Console()
# Progress and remarks go to stderr, so that `--json` leaves stdout to the document.
err = Console(stderr=True)


def emit(document: Any) -> None:
    """One JSON document on stdout."""
    # In one piece, as whoever reads a pipe or a file may look at any moment.
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def fail(message: str) -> None:
    """Say what went wrong, on stderr. Text from elsewhere is never taken for markup."""
    err.print("[bold red]error:[/]", end=" ")
    err.print(message, markup=False, highlight=False)


def warn(warnings: Iterable[dict[str, Any]]) -> None:
    """Say, on stderr, what was found and what to do about it."""
    for each in warnings:
        err.print("[yellow]warning:[/]", end=" ")
        err.print(_sentences(each["message"], each["action"]), markup=False, highlight=False)


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table; columns whose name starts with `>` are right-aligned numbers.

    The first column of identifiers is never cut: one names things by them in the next command.
    Where there is no room for that, it is the last columns that a narrow terminal does not show.
    """
    result = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    rows = list(rows)
    whole = next((i for i in range(len(columns)) if any(_is_id(row[i]) for row in rows)), None)
    for i, name in enumerate(columns):
        result.add_column(
            name.removeprefix(">"),
            justify="right" if name.startswith(">") else "left",
            min_width=max(len(_plain(row[i])) for row in rows) if i == whole else None,
        )
    for row in rows:
        result.add_row(*(_plain(value) for value in row))
    return result


def captioned(made: Table, caption: str) -> Table:
    """The table with a remark below it; text from elsewhere in it is never taken for markup."""
    made.caption = Text(caption) if caption else None
    made.caption_justify = "left"
    return made


def percent(value: float | None) -> str:
    """A share as 98.7 %."""
    return "-" if value is None else f"{100 * value:.1f} %"


def error(value: float | None) -> str:
    """A calibration error such as the ECE, which is a share, as 1.23 %."""
    return "-" if value is None else f"{100 * value:.2f} %"


def figure(value: float | None) -> str:
    """A number without a unit, such as a likelihood, with three digits."""
    return "-" if value is None else f"{value:.3f}"


def size(count: float) -> str:
    """Bytes in the unit that reads best."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def bars() -> Progress:
    """Progress bars on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=err,
    )


def _sentences(message: str, action: str) -> str:
    """What was found and what to do, told apart by a full stop."""
    end = "" if message.endswith((".", "!", "?")) else "."
    return f"{message}{end} {action}" if action else message


def _is_id(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z]+_[0-9a-z]{26}", value) is not None


def _plain(value: object) -> str:
    from rich.markup import escape

    return escape("-" if value is None else str(value))
