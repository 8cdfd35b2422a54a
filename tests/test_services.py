"""The private servers of the tests themselves."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis

from tests import programs
from tests.databases import PostgresServer
from tests.services import ensure, stop_all

HOLD = """
import os, sys, time
from pathlib import Path
from tests.services import ensure
print(ensure(sys.argv[1], Path(sys.argv[2]), os.getpid()), flush=True)
time.sleep(60)
"""


def data_folder(url: str) -> Path:
    """Where a server keeps its data."""
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            return Path(client.config_get("dir")["dir"])
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        return Path(row[0])


OID = "SELECT oid FROM pg_database WHERE datname = current_database()"


@pytest.mark.services
@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_server_outlives_nobody_even_when_its_session_is_killed(
    kind: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLD, kind, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        folder = data_folder(holder.stdout.readline().strip())
        assert folder.exists()
        holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while folder.exists():
        assert time.monotonic() < deadline, f"{kind} outlives the session that started it"
        time.sleep(0.05)


@pytest.mark.services
def test_all_who_ask_get_one_server_until_it_is_stopped(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        urls = set(pool.map(lambda _: ensure("redis", tmp_path, os.getpid()), range(3)))
    (url,) = urls
    folder = data_folder(url)
    stop_all(tmp_path)
    assert not folder.exists()
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ConnectionError):
        client.ping()


@pytest.mark.services
def test_a_fresh_database_is_empty_and_dropped_afterwards(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.fresh(migrated=False) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE mine (x int)")
        with (
            postgres_server.fresh(migrated=False) as other,
            psycopg.connect(other) as connection,
        ):
            assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


@pytest.mark.services
def test_a_database_that_is_used_again_is_as_it_was(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh() as url, psycopg.connect(url) as connection:
        names = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        tables = [name for (name,) in connection.execute(names).fetchall()]
        first = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
        oid = connection.execute(OID).fetchone()
    assert list(first["projects"]) == [first["projects"][0]]
    with postgres_server.fresh() as again:
        left = psycopg.connect(again, autocommit=True)
        assert left.execute(OID).fetchone() == oid
        left.execute("INSERT INTO projects VALUES ('other', 'other', now())")
        left.execute("UPDATE projects SET created_at = now()")
        left.execute("UPDATE alembic_version SET version_num = 'x'")
    # Whoever is left from before finds nothing under the old name.
    with left, pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    for gone in (url, again):
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(gone)
    with postgres_server.fresh() as third, psycopg.connect(third) as connection:
        assert connection.execute(OID).fetchone() == oid
        for name in tables:
            assert connection.execute(f'SELECT * FROM "{name}"').fetchall() == first[name]


@pytest.mark.services
@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE mine (x int)",
        "ALTER TABLE jobs ADD COLUMN mine int",
        "ALTER TABLE jobs ALTER COLUMN name SET DEFAULT 'x'",
        "ALTER TABLE blob_chunks ALTER COLUMN data SET STORAGE EXTENDED",
        "CREATE INDEX mine ON jobs (name)",
        "ALTER TABLE jobs ADD CONSTRAINT mine CHECK (name <> 'x')",
    ],
)
def test_a_database_with_another_schema_is_not_used_again(
    postgres_server: PostgresServer, change: str
) -> None:
    with postgres_server.fresh() as url, psycopg.connect(url) as connection:
        oid = connection.execute(OID).fetchone()
        connection.execute(change)
    with postgres_server.fresh() as other, psycopg.connect(other) as connection:
        assert connection.execute(OID).fetchone() != oid


def test_the_newest_version_with_all_programs_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, names in {
        "9": ["initdb", "postgres"],
        "15": ["initdb", "postgres"],
        "16": [],
    }.items():
        folder = tmp_path / "postgresql" / version / "bin"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch(mode=0o755)
    pattern = str((tmp_path / "postgresql/*/bin").relative_to("/"))
    monkeypatch.setattr(programs, "FOLDERS", (pattern,))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.look("postgres") == [
        tmp_path / "postgresql/15/bin" / name for name in ("initdb", "postgres")
    ]


def test_what_is_missing_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(programs.Unavailable) as missing:
        programs.find_programs("redis")
    assert str(missing.value) == (
        "redis-server or valkey-server not found: install the package redis-server, "
        "or name a running server in CAROT_TEST_REDIS_URL"
    )


def test_packages_start_nothing_and_leave_no_trace_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    clusters = tmp_path / "common" / "createcluster.d" / "carot-test.conf"
    monkeypatch.setattr(programs, "POLICY", policy)
    monkeypatch.setattr(programs, "CLUSTERS", clusters)
    with contextlib.suppress(KeyError), programs.no_autostart():
        assert subprocess.run([policy], check=False).returncode == 101
        assert clusters.read_text() == "create_main_cluster = false\n"
        raise KeyError
    assert list(tmp_path.iterdir()) == []
