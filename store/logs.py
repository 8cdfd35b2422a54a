"""Logging: one format for all processes, without secrets and with every character visible.

A line is one JSON object, or words for people where standard error is a terminal. What is bound
with `bound` stands on every line until the block ends, also on those of the standard library's
loggers (uvicorn, Celery, Alembic, SQLAlchemy). Threads start with nothing bound: `carrying` gives
them what is bound where they are made.
"""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from collections.abc import Callable
from typing import IO, Literal, ParamSpec, TypeVar

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from store.redaction import without_secrets

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
P = ParamSpec("P")
R = TypeVar("R")
bound = structlog.contextvars.bound_contextvars

QUIET = {
    # It warns that a broker made of folders has no host name.
    "kombu.connection": logging.ERROR,
    # One line a request comes from the middleware, with its id and duration.
    "uvicorn.access": logging.CRITICAL,
    # One line for every request that a webhook makes.
    "httpx": logging.WARNING,
}


def configure(
    service: str,
    level: LogLevel = "INFO",
    form: LogFormat = "auto",
    *,
    stream: IO[str] | None = None,
) -> None:
    """Send structlog's and the standard library's records through one renderer.

    Args:
        service: which process it is, on every line: `api`, `worker` or `migrate`.
        form: `auto` is `console` where `stream` is a terminal, else `json`.
        stream: standard error by default.
    """
    out = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    console = form == "console" or (form == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _naming(service),
                # As text, without the values of variables; and before secrets are looked for.
                structlog.processors.format_exc_info,
                _without_secrets,
                *_rendering(console, out),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)


def carrying(call: Callable[P, R]) -> Callable[P, R]:
    """The same call for another thread, with all that is bound here and now.

    One thread at a time: make one for each.
    """
    context = contextvars.copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.run(call, *args, **kwargs)

    return carried


def escaped(text: str) -> str:
    r"""The same text with what is not printable written as JSON writes it, such as `\u202e`.

    That is control characters and what begins ANSI escapes, changes of writing direction,
    separators of lines and paragraphs, spaces other than the plain one, and halves of surrogate
    pairs. In a JSON document outside of whose strings nothing of this stands, it changes no value.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def _rendering(console: bool, out: IO[str]) -> tuple[Processor, Processor]:
    """From what is to be said to a line in which every character can be seen."""
    if console:
        return _printable, structlog.dev.ConsoleRenderer(colors=out.isatty())
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=repr)
    return renderer, lambda _logger, _method, line: escaped(str(line))


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # What lies deeper is shown by `repr`, which escapes as well. Only the lines of an exception
    # stay lines, each moved in, so that none of them can look like a record.
    shown = {
        escaped(name): escaped(value) if isinstance(value, str) else value
        for name, value in event.items()
    }
    if isinstance(trace := event.get("exception"), str):
        lines = trace.split("\n")
        shown["exception"] = "\n".join(f"    {escaped(line)}" for line in lines)
    return shown


def _escape(character: str) -> str:
    # DEL is the one that JSON leaves alone.
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def _naming(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {"service": service, **event}

    return add


def _without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: without_secrets(value, name) for name, value in event.items()}
