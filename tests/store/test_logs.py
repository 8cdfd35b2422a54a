"""Lines of every kind of logger, with what is bound, in one form."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from store import logs
from store.database import Database
from tests.conftest import Lines


def test_loggers_of_both_kinds_write_alike(lines: Lines) -> None:
    with logs.bound(job_id="job_x", fence=3):
        structlog.get_logger("ours").info("happened", step=4)
        logging.getLogger("celery.worker").warning("said %s", "this")
    structlog.get_logger("ours").info("later")
    ours, theirs = lines.one(event="happened"), lines.one(event="said this")
    for line in (ours, theirs):
        assert (line["job_id"], line["fence"], line["service"]) == ("job_x", 3, "test")
        assert line["timestamp"].endswith("Z")
    assert (ours["level"], ours["logger"], ours["step"]) == ("info", "ours", 4)
    assert (theirs["level"], theirs["logger"]) == ("warning", "celery.worker")
    assert "job_id" not in lines.one(event="later")


def test_threads_get_what_is_bound_where_they_are_made(lines: Lines) -> None:
    log = structlog.get_logger("thread")
    with logs.bound(job_id="job_x"):
        threads = [
            threading.Thread(target=logs.carrying(log.info), args=("with",)) for _ in range(2)
        ]
        threads.append(threading.Thread(target=log.info, args=("without",)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line.get("job_id") for line in lines.all(event="with")] == ["job_x"] * 2
    assert "job_id" not in lines.one(event="without")


@pytest.mark.parametrize("ours", [True, False])
def test_errors_are_told_without_secrets_and_without_variables(lines: Lines, ours: bool) -> None:
    logger = structlog.get_logger("x") if ours else logging.getLogger("x")
    try:
        url, local = (str(each) for each in ("redis://:hunter2@redis", 6 * 7))
        raise ValueError(f"{url} is away{local[:0]}")
    except ValueError:
        logger.exception("broken")
    line = lines.one(event="broken")
    assert "ValueError: redis://:***@redis is away" in line["exception"]
    assert "42" not in line["exception"]


def test_secrets_are_hidden_in_names_values_and_messages(lines: Lines) -> None:
    token = "key_01jd3v8m9x2k4q6r8t0v2w4y6z.abc-DEF_123"
    structlog.get_logger("x").info(f"by {token}", authorization="Bearer zzz", deep={"k": [token]})
    logging.getLogger("sqlalchemy").error("connecting to %s", "postgresql://u:hunter2@h/db")
    written = lines.stream.getvalue()
    for secret in ("abc-DEF_123", "zzz", "hunter2"):
        assert secret not in written
    assert lines.one(level="info")["authorization"] == "***"


def test_parameters_of_statements_stay_out_of_errors(database: Database, lines: Lines) -> None:
    given = {"given": f"hash {6 * 7} of a secret"}  # not as the traceback shows this line
    try:
        with database.session() as session:
            session.execute(text("SELECT :given FROM nowhere"), given)
    except SQLAlchemyError:
        structlog.get_logger("x").exception("broken")
    assert "nowhere" in lines.one(event="broken")["exception"]
    assert given["given"] not in lines.stream.getvalue()


def test_levels_and_warnings(lines: Lines) -> None:
    logging.getLogger().setLevel("WARNING")
    structlog.get_logger("x").info("quiet")
    logging.getLogger("uvicorn.access").error("quiet")
    logging.getLogger("httpx").info("quiet")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", UserWarning, stacklevel=1)
    assert not lines.all(event="quiet")
    assert "careful" in lines.one(logger="py.warnings")["event"]


def test_people_at_a_terminal_get_words(lines: Lines) -> None:
    stream = io.StringIO()
    logs.configure("test", "INFO", "console", stream=stream)
    structlog.get_logger("x").info("happened", url="redis://:hunter2@redis", job_id="job_x")
    logging.getLogger("y").info("and this")
    text = stream.getvalue()
    assert "happened" in text
    assert "job_id=job_x" in text
    assert "and this" in text
    assert "hunter2" not in text


HOSTILE = (
    "a\x1b[2Jb\x07\x7f\x9b31m \u202e\u2066x\u2069 \u2028\u2029\x85 "
    "\u200b\ufeff\U000e0041\r\n"
    '2030-01-01T00:00:00Z [info] {"event": "forged"}'
)


def test_halves_of_pairs_are_escaped_as_well() -> None:
    assert logs.escaped("a\ud800 é\x7f") == "a\\ud800 é\\u007f"
    assert json.loads(f'"{logs.escaped(chr(0xE0041))}"') == chr(0xE0041)


def test_lines_show_every_character_and_lose_none(lines: Lines) -> None:
    log = structlog.get_logger("x")
    log.info(HOSTILE, path=HOSTILE, deep={HOSTILE: [HOSTILE]}, name="Łódź „x“ 猫")
    logging.getLogger("y").info("by %s", HOSTILE)
    written = lines.stream.getvalue()
    assert [line for line in written.split("\n") if not line.isprintable()] == []
    assert len(written.splitlines()) == 2
    assert "Łódź „x“ 猫" in written
    ours = lines.one(event=HOSTILE)
    assert (ours["path"], ours["deep"]) == (HOSTILE, {HOSTILE: [HOSTILE]})
    assert lines.one(logger="y")["event"] == f"by {HOSTILE}"


def test_words_at_a_terminal_cannot_steer_it_or_forge_a_line(lines: Lines) -> None:
    stream = io.StringIO()
    logs.configure("test", "INFO", "console", stream=stream)
    structlog.get_logger("x").info(HOSTILE, path=HOSTILE, deep=[HOSTILE], **{HOSTILE: 1})
    logging.getLogger("y").info("by %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        structlog.get_logger("x").exception("broken", path="Łódź")
    written = stream.getvalue()
    assert [line for line in written.split("\n") if not line.isprintable()] == []
    assert "\\u001b[2Jb" in written
    assert "path=Łódź" in written
    records = [line for line in written.split("\n") if line and not line.startswith("    ")]
    assert len(records) == 3


@pytest.mark.slow
def test_migrations_speak_the_same_form(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    command = [sys.executable, "-m", "migrations.upgrade", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert any(line["logger"].startswith("alembic") for line in found)
    assert {line["service"] for line in found} == {"migrate"}
