"""Backups: whole, of one moment, readable by either database, and all or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from store.artifacts import ArtifactStore
from store.artifacts.database import DatabaseBlobs
from store.artifacts.folder import FolderBlobs, is_temporary
from store.backup.backup import save_backup, write_backup
from store.backup.backup_file import NOT_KEPT, member
from store.backup.dumps import dump, reflect
from store.backup.restore import read_backup
from store.database import Database
from store.errors import ArtifactMissing, BackupDamaged, BackupError, CannotRestore
from store.jobs.claims import claim
from store.jobs.events import list_events
from store.jobs.transitions import find
from store.retention.deletion import delete, finish
from store.retention.retention import collect_garbage
from store.schema import newest_revision
from store.tables import Artifact, Checkpoint, Job
from tests.store.backup.filled_service import Used, contents, use
from tests.store.conftest import new_job

Service = tuple[Database, ArtifactStore]


@pytest.fixture
def used(database: Database, blobs: ArtifactStore) -> Used:
    """A service of either kind, in use."""
    return use(database, blobs)


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Callable[[], Service]]:
    """New, empty services on SQLite and a folder."""
    made: list[Database] = []

    def make() -> Service:
        folder = tmp_path / f"other{len(made)}"
        made.append(Database(f"sqlite:///{folder / 'carot.db'}"))
        return made[-1], FolderBlobs(folder / "artifacts")

    yield make
    for each in made:
        each.close()


@pytest.fixture
def embedded(others: Callable[[], Service]) -> tuple[Service, Used]:
    """One of SQLite and a folder, for what does not depend on where a backup comes from."""
    service = others()
    service[0].upgrade()
    return service, use(*service)


@pytest.fixture
def file(embedded: tuple[Service, Used], tmp_path: Path) -> Path:
    """A backup of it."""
    path = tmp_path / "carot.tar"
    save_backup(*embedded[0], path)
    return path


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.snapshot() as connection:
        return {
            table.name: [json.loads(line) for line in dump(connection, table)]
            for table in reflect(connection, NOT_KEPT).tables
        }


def left(service: Service) -> tuple[list[str], list[str]]:
    """Rows and blobs in what should be empty."""
    database, blobs = service
    full = [name for name, lines in rows(database).items() if lines and name != "projects"]
    return full, blobs.abandoned(-60)


def restore(service: Service, path: Path) -> None:
    with path.open("rb") as opened:
        read_backup(*service, opened)


def comparable(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Without what is another on purpose."""
    held = ("running", "pausing", "cancelling")
    jobs = {line["id"] for line in tables["jobs"] if line["state"] in held}
    kept = {name: [*lines] for name, lines in tables.items()}
    kept["jobs"] = [line for line in kept["jobs"] if line["id"] not in jobs]
    kept["artifacts"] = [
        line | {"blob_key": None} for line in kept["artifacts"] if line["state"] != "pending"
    ]
    return kept


@pytest.fixture(params=["folder", pytest.param("database", marks=pytest.mark.services)])
def new(request: pytest.FixtureRequest, others: Callable[[], Service]) -> Iterator[Service]:
    """A new service: SQLite and a folder, or Postgres alone."""
    if request.param == "folder":
        yield others()
        return
    with request.getfixturevalue("postgres_server").fresh(migrated=False) as url:
        database = Database(url)
        yield database, DatabaseBlobs(database)
        database.close()


def test_a_backup_moves_between_databases_and_stores(
    database: Database, blobs: ArtifactStore, used: Used, new: Service, tmp_path: Path
) -> None:
    save_backup(database, blobs, tmp_path / "carot.tar")
    assert (tmp_path / "carot.tar").stat().st_mode & 0o777 == 0o600
    restore(new, tmp_path / "carot.tar")
    before, after = comparable(rows(database)), rows(new[0])
    assert all(after.values()), "no table is left out of this test"
    waiting = {line["id"] for line in after["jobs"]} - {line["id"] for line in before["jobs"]}
    assert waiting == {used.running, used.pausing, used.cancelling}
    after["jobs"] = [line for line in after["jobs"] if line["id"] not in waiting]
    last = {id: max(e["seq"] for e in after["job_events"] if e["job_id"] == id) for id in waiting}
    after["job_events"] = [
        line for line in after["job_events"] if last.get(line["job_id"]) != line["seq"]
    ]
    assert comparable(after) == before
    assert contents(*new) == contents(database, blobs)


def test_jobs_that_a_worker_had_wait_again(
    file: Path, embedded: tuple[Service, Used], others: Callable[[], Service]
) -> None:
    used, (new, there) = embedded[1], others()
    restore((new, there), file)
    with new.session() as session:
        running, pausing, cancelling = (
            find(session, id) for id in (used.running, used.pausing, used.cancelling)
        )
        assert (running.state, running.attempts, running.fence) == ("queued", 0, 1)
        assert (running.worker, running.lease_expires_at) == (None, None)
        assert (pausing.state, pausing.attempts, pausing.fence) == ("paused", 0, 1)
        assert (cancelling.state, cancelling.fence) == ("cancelled", 1)
        assert cancelling.finished_at is not None
        for job in (running, pausing, cancelling):
            events = list_events(session, job.id)
            assert [event.seq for event in events] == [*range(1, job.event_seq + 1)]
        held = claim(session, used.running, "new", 60)
        assert held is not None
        assert held.fence == 2
        key = session.get_one(Artifact, held.snapshot_artifact_id).ref
    assert b"".join(there.open(key)) == used.snapshot


class Meddling(io.BytesIO):
    """A file; something happens to the service once the first artifact begins."""

    def __init__(self, meddle: Callable[[], None]) -> None:
        super().__init__()
        self._meddle: Callable[[], None] | None = meddle

    def write(self, data: Any) -> int:
        if self._meddle is not None and bytes(data[:10]) == b"artifacts/":
            meddle, self._meddle = self._meddle, None
            meddle()
        return super().write(data)


def test_what_happens_meanwhile_changes_nothing(
    database: Database, blobs: ArtifactStore, used: Used, others: Callable[[], Service]
) -> None:
    """The rows are of one moment, and bytes that are deleted after it are in it all the same."""
    expected, before = contents(database, blobs), rows(database)
    with database.reading() as session:
        weights = session.get_one(Checkpoint, used.checkpoint).artifact.ref

    def meddle() -> None:
        new_job(database)
        with database.session() as session:
            session.execute(text("DELETE FROM model_aliases"))
            session.execute(text("UPDATE jobs SET state = 'succeeded', lease_expires_at = NULL"))
            artifact = delete(session, session.get_one(Checkpoint, used.checkpoint))
        finish(database, blobs, artifact)
        collect_garbage(database, blobs, older_than_seconds=-60)

    file = Meddling(meddle)
    manifest = write_backup(database, blobs, file)
    assert manifest.tables["jobs"].rows == len(before["jobs"]) == len(rows(database)["jobs"]) - 1
    assert blobs.exists(weights)
    collect_garbage(database, blobs)
    assert not blobs.exists(weights), "nothing holds it any more"
    file.seek(0)
    new, there = others()
    read_backup(new, there, file)
    assert contents(new, there) == expected
    after = rows(new)
    assert after["model_aliases"] == before["model_aliases"]
    assert len(after["jobs"]) == len(before["jobs"])


def places(path: Path) -> dict[str, tuple[int, int]]:
    """Where the bytes of each member begin, and how many there are."""
    with tarfile.open(path) as tar:
        return {info.name: (info.offset_data, info.size) for info in tar}


def damaged(path: Path, offset: int) -> Path:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    other = path.with_suffix(".damaged")
    other.write_bytes(data)
    return other


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_noticed_and_named(
    file: Path, others: Callable[[], Service]
) -> None:
    service = others()
    for name, (start, size) in places(file).items():
        if size == 0:
            continue
        with pytest.raises(BackupDamaged) as caught:
            restore(service, damaged(file, start + size - 1 - size // 3))
        # In the manifest it may be a sum, which then says so of a member that is whole.
        assert name in str(caught.value) or name == "manifest.json"
        assert left(service) == ([], [])
    restore(service, file)
    assert left(service)[0] != []


@pytest.mark.slow
def test_a_file_that_ends_early_is_noticed(file: Path, others: Callable[[], Service]) -> None:
    service = others()
    whole = file.read_bytes()
    short = file.with_suffix(".short")
    found = list(places(file).values())
    within = [start + size // 2 for start, size in found]
    between = [start - 300 for start, _ in (*found[::3], found[-1])]
    for end in within + between:
        short.write_bytes(whole[:end])
        with pytest.raises(BackupDamaged):
            restore(service, short)
    assert left(service) == ([], [])


@pytest.mark.parametrize("content", [b"", b"not a tar" * 1000, bytes(10240)])
def test_what_is_no_backup(content: bytes, tmp_path: Path, others: Callable[[], Service]) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BackupDamaged, match="no backup"):
        restore(others(), tmp_path / "file")


def with_manifest(path: Path, **changes: object) -> io.BytesIO:
    """The backup, saying something else of itself."""
    with tarfile.open(path) as tar:
        first, *rest = tar.getmembers()
        opened = tar.extractfile(first)
        assert opened is not None
        head = json.dumps(json.loads(opened.read()) | changes).encode()
        start = rest[0].offset
    return io.BytesIO(
        b"".join(member("manifest.json", len(head), [head])) + path.read_bytes()[start:]
    )


def test_a_backup_of_a_later_release(file: Path, others: Callable[[], Service]) -> None:
    with pytest.raises(CannotRestore, match=r"9999.*release 3\.0"):
        read_backup(*others(), with_manifest(file, revision="9999", version="3.0"))
    with pytest.raises(BackupDamaged, match="format 2"):
        read_backup(*others(), with_manifest(file, format=2))


def test_only_into_an_empty_service(
    embedded: tuple[Service, Used], file: Path, others: Callable[[], Service]
) -> None:
    before = contents(*embedded[0])
    with pytest.raises(CannotRestore, match=r"not empty.*jobs"):
        restore(embedded[0], file)
    new, there = others()
    new.upgrade()
    foreign = there.put([b"somebody else's"])
    with pytest.raises(CannotRestore, match="artifact store is not empty"):
        restore((new, there), file)
    assert there.exists(foreign.key)
    assert contents(*embedded[0]) == before
    older, _ = others()
    older.upgrade("0001")
    with pytest.raises(CannotRestore, match="revision 0001"):
        restore((older, there), file)


def test_a_backup_of_an_older_release_is_upgraded(
    tmp_path: Path, others: Callable[[], Service]
) -> None:
    """Written by hand: the release that wrote such backups would have been this one."""
    old, _ = others()
    old.upgrade("0002")
    with old.engine.begin() as connection:
        tables = {table.name: table for table in reflect(connection).tables}
        moment = {"created_at": "2026-01-02 03:04:05.000000"}
        job = dict.fromkeys(tables["jobs"].columns.keys())
        job |= {"id": "job_" + 26 * "0", "project_id": "proj_" + 26 * "0", "kind": "finetune"}
        job |= {"state": "running", "dataset": "builtin:digits", "queue": "cpu", "priority": 0}
        job |= {"processes": 1, "seconds_spent": 0, "attempts": 1, "max_attempts": 2, "retries": 0}
        job |= {"fence": 5, "event_seq": 0, "updated_at": moment["created_at"], **moment}
        names = ", ".join(job)
        values = ", ".join(f":{name}" for name in job)
        connection.execute(
            text(f"INSERT INTO jobs ({names}) VALUES ({values})"), job | {"spec": "{}"}
        )
    file = io.BytesIO()
    described, parts = {}, []
    with old.snapshot() as connection:
        for table in reflect(connection, NOT_KEPT).tables:
            lines = b"".join(dump(connection, table))
            parts.append(b"".join(member(f"rows/{table.name}.jsonl", len(lines), [lines])))
            described[table.name] = content_of(lines)
    head = json.dumps(
        {"format": 1, "version": "0.0", "revision": "0002", "created_at": "2026-01-02T03:04:05Z",
         "artifacts": {"count": 0, "bytes": 0}, "tables": described}
    ).encode()  # fmt: skip
    file = io.BytesIO(b"".join([*member("manifest.json", len(head), [head]), *parts]))
    new, there = others()
    read_backup(new, there, file)
    assert new.revision() == newest_revision()
    with new.reading() as session:
        (job_row,) = session.scalars(select(Job)).all()
        assert (job_row.state, job_row.fence, job_row.attempts) == ("queued", 5, 0)


def content_of(lines: bytes) -> dict[str, Any]:
    sum_ = hashlib.sha256(lines).hexdigest()
    return {"rows": lines.count(b"\n"), "bytes": len(lines), "sha256": sum_}


def test_bytes_that_are_missing_are_named_and_no_file_is_left(
    embedded: tuple[Service, Used], tmp_path: Path
) -> None:
    (database, blobs), used = embedded
    with database.reading() as session:
        artifact = session.get_one(Checkpoint, used.checkpoint).artifact
    blobs.delete(artifact.ref)
    with pytest.raises(ArtifactMissing, match=f"checkpoint {artifact.id} cannot be copied"):
        save_backup(database, blobs, tmp_path / "file.tar")
    assert list(tmp_path.glob("*.tar*")) + list(tmp_path.glob(".*")) == []


def test_a_database_that_is_none_of_ours(tmp_path: Path, others: Callable[[], Service]) -> None:
    nothing, there = others()
    with pytest.raises(BackupError, match="no database"):
        save_backup(nothing, there, tmp_path / "file.tar")
    assert not Path(str(nothing.url.database)).exists()
    nothing.upgrade("0002")
    with pytest.raises(BackupError, match="0002"):
        save_backup(nothing, there, tmp_path / "file.tar")


PROGRAM = """
import os, resource, signal, sys
from pathlib import Path
from store.artifacts import open_store
from store.backup.backup import save_backup
from store.database import Database
from store.errors import NoSpace
from store.backup.restore import read_backup
from store.settings import Settings
settings = Settings()
database = Database(settings.database_url)
artifacts = open_store(settings, database)
"""


def run(program: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CAROT_DATABASE_URL": url, "CAROT_DATA_DIR": str(folder)}
    command = [sys.executable, "-c", PROGRAM + program]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_restore_that_is_killed_can_be_repeated(
    share: float,
    empty_database_url: str,
    file: Path,
    embedded: tuple[Service, Used],
    tmp_path: Path,
) -> None:
    program = f"""
def kill(done, total):
    if done >= {share} * total:
        os.kill(os.getpid(), signal.SIGKILL)
read_backup(database, artifacts, open({str(file)!r}, "rb"), kill)
"""
    done = run(program, empty_database_url, tmp_path / "target")
    assert done.returncode == -signal.SIGKILL, done.stderr
    database = Database(empty_database_url)
    blobs: ArtifactStore = DatabaseBlobs(database)
    if database.is_sqlite:
        blobs = FolderBlobs(tmp_path / "target" / "artifacts")
    found = rows(database)
    assert {name for name, lines in found.items() if lines} <= {"projects", "artifacts"}
    assert {line["state"] for line in found["artifacts"]} <= {"pending"}
    restore((database, blobs), file)
    assert embedded[1].checkpoint in {line["id"] for line in rows(database)["checkpoints"]}
    listed = contents(database, blobs)
    found_blobs = [name for name in blobs.abandoned(-60) if not is_temporary(name)]
    assert len(found_blobs) == len(set(listed.values())), "and nothing besides"
    database.close()


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_no_file(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'carot.db'}")
    database.upgrade()
    use(database, FolderBlobs(tmp_path / "artifacts"))
    program = f"""
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
try:
    save_backup(database, artifacts, Path({str(tmp_path / "file.tar")!r}))
except NoSpace as error:
    print("no space:", error)
"""
    done = run(program, str(database.url.render_as_string()), tmp_path)
    assert done.stdout.startswith("no space: no space left to store the backup"), done.stderr
    assert list(tmp_path.glob("*file.tar*")) == []
    with database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM blob_holds")) == 0
    database.close()
