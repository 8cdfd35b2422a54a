"""Artifacts: every back end keeps bytes whole or not at all, and rows never lose them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, update

from store.artifacts import ArtifactStore, open_store
from store.artifacts.base import CHUNK_BYTES, chunked
from store.artifacts.database import DatabaseBlobs
from store.artifacts.folder import FolderBlobs
from store.artifacts.remote import FsspecBlobs
from store.artifacts.rows import begin, commit, discard, drop_pending, get_artifact, store_pending
from store.database import Database, database_now
from store.errors import ArtifactCorrupt, ArtifactMissing, NoSpace, NotFound, StaleFence
from store.jobs.claims import claim
from store.jobs.jobs import create_job
from store.settings import Settings
from store.tables import DEFAULT_PROJECT, Artifact, BlobChunk, Job
from tests.store.conftest import SPEC
from tests.store.stored import committed, put, whole


@contextmanager
def upgraded(url: str) -> Iterator[Database]:
    database = Database(url)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def fsspec_store(tmp_path: Path) -> FsspecBlobs:
    return FsspecBlobs(f"local://{tmp_path}/objects")


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[DatabaseBlobs]:
    with upgraded(f"sqlite:///{tmp_path / 'carot.db'}") as database:
        yield DatabaseBlobs(database)


@pytest.fixture
def postgres_store(postgres_url: str) -> Iterator[DatabaseBlobs]:
    with upgraded(postgres_url) as database:
        yield DatabaseBlobs(database)


STORES = ["folder", "fsspec", "sqlite", pytest.param("postgres", marks=pytest.mark.services)]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> ArtifactStore:
    """Every back end."""
    store: ArtifactStore = request.getfixturevalue(f"{request.param}_store")
    return store


def content(size: int) -> bytes:
    return os.urandom(size)


def test_ten_megabytes_come_back_whole_and_in_ranges(store: ArtifactStore) -> None:
    data = content(10_000_000)
    blob = store.put(data[i : i + 77_777] for i in range(0, len(data), 77_777))
    assert blob.size == len(data) == store.size(blob.key)
    assert whole(store, blob.key) == data
    edge = CHUNK_BYTES
    for start, end in [(0, 1), (5, 5), (edge - 1, edge + 1), (edge, 2 * edge), (9_999_999, None)]:
        assert whole(store, blob.key, start, end) == data[start:end]
    assert whole(store, blob.key, 9_999_990, 20_000_000) == data[-10:]
    assert whole(store, blob.key, 20_000_000) == b""


def test_an_open_file_and_nothing_at_all_can_be_put(store: ArtifactStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\nb\n" * 1000)
    with path.open("rb") as file:
        assert whole(store, store.put(file).key) == path.read_bytes()
    empty = store.put([])
    assert empty.size == 0
    assert store.exists(empty.key)
    assert whole(store, empty.key) == b""


def test_deleted_is_missing_and_may_be_deleted_again(store: ArtifactStore) -> None:
    key = store.put([b"bytes"]).key
    store.delete(key)
    store.delete(key)
    assert not store.exists(key)
    with pytest.raises(ArtifactMissing):
        whole(store, key)
    with pytest.raises(ArtifactMissing):
        store.size(key)


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "blob_../x", "/etc/passwd", "aa/../b"])
def test_a_key_of_somebody_elses_reaches_nothing(store: ArtifactStore, key: str) -> None:
    with pytest.raises(ArtifactMissing):
        whole(store, key)


def damage(store: ArtifactStore, folder: Path, data: bytes) -> None:
    if isinstance(store, DatabaseBlobs):
        with store._database.session() as session:
            session.execute(update(BlobChunk).values(data=data))
    else:
        (path,) = files_of(folder)
        path.write_bytes(data)


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.glob("[bo]*/**/*") if path.is_file()]


@pytest.mark.parametrize("damaged", [b"byteZ", b"byte"])
def test_other_bytes_are_noticed(store: ArtifactStore, tmp_path: Path, damaged: bytes) -> None:
    key = store.put([b"bytes"]).key
    damage(store, tmp_path, damaged)
    with pytest.raises(ArtifactCorrupt):
        whole(store, key)


def test_abandoned_are_those_that_are_old_enough(store: ArtifactStore) -> None:
    blob = store.put([b"bytes"])
    assert store.abandoned(3600) == []
    (name,) = store.abandoned(-5)
    assert blob.key.startswith(name)
    store.delete(name)
    assert not store.exists(blob.key)


def test_what_fails_on_the_way_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    def torn() -> Iterator[bytes]:
        yield content(2 * CHUNK_BYTES)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        store.put(torn())
    if isinstance(store, DatabaseBlobs):
        with store._database.reading() as session:
            assert session.scalars(select(BlobChunk.seq)).all() == []
    assert files_of(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "fsspec", "database"])
def test_a_full_disk_is_said_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    """In a process that may write files of 6 MB at most: the kernel then refuses the write."""
    program = f"""
import sys
from pathlib import Path
from store.artifacts.folder import FolderBlobs
from store.artifacts.remote import FsspecBlobs
from store.artifacts.database import DatabaseBlobs
from store.database import Database
from store.errors import NoSpace
root = Path({str(tmp_path)!r})
database = Database(f"sqlite:///{{root}}/full.db")
database.upgrade()
blobs = dict(
    folder=lambda: FolderBlobs(root / "blobs"),
    fsspec=lambda: FsspecBlobs(f"local://{{root}}/objects"),
    database=lambda: DatabaseBlobs(database),
)[{kind!r}]()
if {kind!r} == "database":
    from sqlalchemy import event
    @event.listens_for(database.engine, "connect")
    def limit(connection, record):
        connection.execute("PRAGMA max_page_count=1500")
    database.close()
else:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))
try:
    blobs.put(bytes(1_000_000) for _ in range(9))
except NoSpace as error:
    print("no space:", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("no space:"), done.stdout + done.stderr
    assert files_of(tmp_path) == []
    full = Database(f"sqlite:///{tmp_path}/full.db")
    with full.reading() as session:
        assert session.scalars(select(BlobChunk.seq)).all() == []
    full.close()


def test_chunks_have_one_size_whatever_comes() -> None:
    pieces = [b"abc", b"", b"defgh", b"i"]
    assert list(chunked(pieces, 4)) == [b"abcd", b"efgh", b"i"]
    assert list(chunked([], 4)) == []


def test_pending_is_not_listed_and_committed_is(database: Database, blobs: ArtifactStore) -> None:
    stored = put(database, blobs)
    with database.reading() as session, pytest.raises(NotFound):
        get_artifact(session, stored.artifact_id)
    with database.session() as session:
        commit(session, blobs, stored)
    with database.reading() as session:
        row = get_artifact(session, stored.artifact_id)
        assert (row.sha256, row.size) == (stored.blob.sha256, 5)
        assert whole(blobs, row.ref) == b"bytes"


def test_equal_bytes_of_another_artifact_survive(database: Database, blobs: ArtifactStore) -> None:
    first, second = committed(database, blobs), committed(database, blobs)
    discard(database, blobs, first)
    with database.reading() as session:
        key = get_artifact(session, second).ref
    assert whole(blobs, key) == b"bytes"
    discard(database, blobs, second)
    assert not blobs.exists(key)


def test_a_shared_blob_stays_for_whoever_is_about_to_list_it(
    database: Database, blobs: ArtifactStore
) -> None:
    """Two jobs make the same bytes: the end of one must not take those of the other."""
    first = committed(database, blobs)
    late = put(database, blobs)
    discard(database, blobs, first)
    with database.session() as session:
        commit(session, blobs, late)
    with database.reading() as session:
        assert whole(blobs, get_artifact(session, late.artifact_id).ref) == b"bytes"


def test_equal_bytes_stored_and_deleted_at_once(database: Database, tmp_path: Path) -> None:
    """Many at once over one blob: nobody loses it, and the last one takes it away."""
    blobs = FolderBlobs(tmp_path / "blobs")

    def rounds(_: int) -> None:
        for _ in range(12):
            artifact_id = committed(database, blobs)
            with database.reading() as session:
                key = get_artifact(session, artifact_id).ref
            assert whole(blobs, key) == b"bytes"
            discard(database, blobs, artifact_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rounds, range(4)))
    assert files_of(tmp_path) == []


def test_bytes_that_somebody_deleted_by_hand_are_noticed(
    database: Database, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    late = put(database, blobs)
    blobs.delete(late.blob.key)
    with pytest.raises(ArtifactMissing), database.session() as session:
        commit(session, blobs, late)


def test_a_failed_put_leaves_no_row(database: Database, blobs: ArtifactStore) -> None:
    def torn() -> Iterator[bytes]:
        yield b"a"
        raise NoSpace("full")

    with pytest.raises(NoSpace):
        store_pending(database, blobs, torn(), "checkpoint")
    with database.reading() as session:
        assert session.scalars(select(Artifact)).all() == []


def test_dropping_what_was_committed_after_all_does_nothing(
    database: Database, blobs: ArtifactStore
) -> None:
    stored = put(database, blobs)
    with database.session() as session:
        commit(session, blobs, stored)
    drop_pending(database, blobs, stored)
    assert whole(blobs, stored.blob.key) == b"bytes"


def test_a_replaced_worker_commits_nothing(database: Database, blobs: ArtifactStore) -> None:
    with database.session() as session:
        job_id = create_job(session, SPEC, project=DEFAULT_PROJECT).id
        held = claim(session, job_id, "first", 60)
        assert held is not None
    stored = store_pending(database, blobs, [b"bytes"], "checkpoint", held=held)
    with database.session() as session:
        session.execute(update(Job).values(lease_expires_at=database_now(-1)))
        assert claim(session, job_id, "second", 60) is not None
    with pytest.raises(StaleFence), database.session() as session:
        commit(session, blobs, stored, held)
    with database.reading() as session:
        assert session.scalars(select(Artifact.state)).all() == ["pending"]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (lambda tmp: "database:", DatabaseBlobs),
        (lambda tmp: (tmp / "a folder").as_uri(), FolderBlobs),
        (lambda tmp: f"local://{tmp}/objects", FsspecBlobs),
        (lambda tmp: "memory://objects", FsspecBlobs),
    ],
)
def test_the_url_chooses(url: Callable[[Path], str], kind: type, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, artifacts_url=url(tmp_path))
    database = Database(settings.database_url)
    database.upgrade()
    store = open_store(settings, database)
    assert isinstance(store, kind)
    assert whole(store, store.put([b"bytes"]).key) == b"bytes"
    database.close()


def test_begin_notes_who_makes_it(database: Database) -> None:
    with database.session() as session:
        held = claim(session, create_job(session, SPEC, project=DEFAULT_PROJECT).id, "worker", 60)
        row = begin(session, "logits", held=held, name="logits.tar")
        assert held is not None
        assert (row.job_id, row.fence, row.state) == (held.job_id, held.fence, "pending")
