"""A log that Postgres itself keeps: who wrote what about a job, and under which fence.

Every process of the service connects under a name of its own (`PGAPPNAME`), so the log tells
writers apart that the service's own rows do not. SQLite knows no names; there is no log there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import text

from store.database import Database

CLAIMS = ("claim", "take_over")
BY_PEOPLE = (
    "", "pause_waiting", "ask_to_pause", "resume", "cancel_waiting", "ask_to_cancel", "retry",
)  # fmt: skip
BY_OTHERS = ("not_responding", "priority")
"""Events that sweepers and people write, not the worker that holds the job."""

TABLE = """
CREATE TABLE chaos_audit (
    n bigserial PRIMARY KEY, writer text, relation text, job_id text, fence bigint, what text)
"""
LOG = """
CREATE FUNCTION chaos_log() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE what text := '';
BEGIN
    IF NEW.job_id IS NULL THEN RETURN NULL; END IF;
    IF TG_TABLE_NAME = 'job_events' THEN
        what := NEW.type || ':' || coalesce(NEW.data->>'transition', '');
        IF NEW.data->'exit'->>'reason' = 'worker_lost' THEN what := what || ':lost'; END IF;
    ELSIF TG_TABLE_NAME = 'artifacts' THEN
        IF NEW.state <> 'committed' THEN RETURN NULL; END IF;
        what := NEW.fence::text;
    END IF;
    INSERT INTO chaos_audit (writer, relation, job_id, fence, what)
    SELECT current_setting('application_name'), TG_TABLE_NAME, id, fence, what
    FROM jobs WHERE id = NEW.job_id;
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER chaos_log AFTER INSERT OR UPDATE ON {table}
FOR EACH ROW EXECUTE FUNCTION chaos_log()
"""
TABLES = ("job_events", "job_metrics", "artifacts", "checkpoints", "reports")


@dataclass(frozen=True)
class Entry:
    """One write, in the order of the job's row lock. `fence` is the job's at that moment."""

    writer: str
    relation: str
    job_id: str
    fence: int
    what: str


def install(database: Database) -> None:
    """Log from now on; on SQLite nothing."""
    if database.is_sqlite:
        return
    with database.engine.begin() as connection:
        for statement in (TABLE, LOG, *(TRIGGER.format(table=table) for table in TABLES)):
            connection.exec_driver_sql(statement)


def entries(database: Database) -> list[Entry]:
    """The log so far."""
    if database.is_sqlite:
        return []
    query = "SELECT writer, relation, job_id, fence, what FROM chaos_audit ORDER BY n"
    with database.reading() as session:
        return [Entry(*row) for row in session.execute(text(query))]


def intruders(log: Iterable[Entry]) -> list[str]:
    """Writes about a job by somebody who did not hold it, or under a fence that was over."""
    found = []
    holders: dict[str, tuple[str, int]] = {}
    fences: dict[str, int] = {}
    for entry in log:
        kind, _, way = entry.what.partition(":")
        is_state = entry.relation == "job_events" and kind == "state"
        if is_state and way in CLAIMS:
            if entry.fence <= fences.get(entry.job_id, 0):
                found.append(f"{entry} under an old fence")
            fences[entry.job_id] = entry.fence
            holders[entry.job_id] = entry.writer, entry.fence
        elif is_state and way.endswith(":lost"):
            holders.pop(entry.job_id, None)
        elif not (is_state and way in BY_PEOPLE) and not (
            entry.relation == "job_events" and kind in BY_OTHERS
        ):
            if holders.get(entry.job_id) != (entry.writer, entry.fence):
                found.append(f"{entry}, held by {holders.get(entry.job_id)}")
            if entry.relation == "artifacts" and entry.what != str(entry.fence):
                found.append(f"{entry} committed under another fence than it was begun")
            if is_state:
                holders.pop(entry.job_id, None)
    return found
