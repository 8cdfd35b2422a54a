"""How fast the back ends of artifacts are, and that none needs memory for the size of an artifact.

    python benchmarks/artifacts.py [--quick] [--mebibytes 256] [--kinds folder,…] [--json FILE]

Each back end works in a process of its own: it stores random bytes, reads them back whole, serves
all but the first of them over HTTP as one range, backs the service up into a file, and restores
that into a new one on SQLite and a folder. Printed are MB/s (10^6 bytes) and by how many MiB the
process' memory (the kernel's VmHWM) grew at most beyond what it was before, with server and client
of HTTP in one process. Everything is summed with SHA-256 on the way, as it is in the service.

Postgres is the private one of the tests, which does not wait for the disk (fsync off); `folder`
does, so compare them with that in mind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("folder", "fsspec", "sqlite", "postgres")
ACTS = ("put", "open", "http", "backup", "restore")
MIB = 1 << 20
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="32 MiB, without Postgres")
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path, default=Path("build/artifacts.json"))
    parser.add_argument("--measure", metavar="KIND", help="what the processes are started with")
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measured(options.measure, options.mebibytes)))
        return
    size = 32 if options.quick else options.mebibytes
    kinds = [k for k in options.kinds.split(",") if not (options.quick and k == "postgres")]
    found = {kind: in_a_process(kind, size) for kind in kinds}
    print(table(found, size))
    # Imported late: it loads torch, which the processes that measure do without.
    from benchmarks.provenance import write_results

    write_results(options.json, {"mebibytes": size, "back_ends": found})


def in_a_process(
    kind: str, size: int, database_url: str | None = None
) -> dict[str, dict[str, float]]:
    """What `measured` gives, from a process that does nothing else.

    Args:
        database_url: of an empty Postgres; without one a server of its own is started for it.
    """
    command = [sys.executable, str(Path(__file__)), "--measure", kind, "--mebibytes", str(size)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        if database_url is not None:
            environment["CAROT_DATABASE_URL"] = database_url
        if kind == "postgres" and database_url is None:
            from tests.databases import PostgresServer
            from tests.services import ensure, stop_all

            server = PostgresServer(ensure("postgres", Path(folder), os.getpid()), Path(folder))
            try:
                with server.fresh() as url:
                    environment["CAROT_DATABASE_URL"] = url
                    done = _run(command, environment)
            finally:
                stop_all(Path(folder))
        else:
            done = _run(command, environment)
    found: dict[str, dict[str, float]] = json.loads(done.splitlines()[-1])  # behind the log
    return found


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def measured(kind: str, size: int) -> dict[str, dict[str, float]]:
    """MB/s, and growth of memory in MiB, of each act with an artifact of `size` MiB."""
    with tempfile.TemporaryDirectory() as name:
        service = Service(_settings(kind, Path(name)))
        try:
            service.act(8)  # so that what is loaded once is not counted
            return service.act(size)
        finally:
            service.close()


class Service:
    """A store, a database and an API around it."""

    def __init__(self, settings: Settings) -> None:
        from store.artifacts import open_store
        from store.database import Database

        self.settings = settings
        self.database = Database(settings.database_url)
        self.database.upgrade()
        self.artifacts = open_store(settings, self.database)
        self.folder = settings.data_dir
        self._turn = self._stored = 0

    def close(self) -> None:
        self.database.close()

    def act(self, size: int) -> dict[str, dict[str, float]]:
        """Everything once, with an artifact of `size` MiB; the artifact stays."""
        self._turn += 1
        self._stored += size
        checkpoint: list[str] = []
        acts: dict[str, Callable[[], object]] = {
            "put": lambda: checkpoint.append(self._checkpoint(size)),
            "open": lambda: self._read(checkpoint[0], size),
            "backup": self._backup,
            "restore": self._restore,
        }
        found = {}
        for name, act in acts.items():
            whole = name in ("backup", "restore")
            found[name] = watched(act, self._stored if whole else size)
        with serving(self.settings) as url:
            path = f"{url}/checkpoints/{checkpoint[0]}/download"
            _download(path, MIB)
            found["http"] = watched(lambda: _download(path, size * MIB), size)
        return {name: found[name] for name in ACTS}

    def _checkpoint(self, size: int) -> str:
        """Store weights; the row is what a worker would write."""
        from carot.specs import FinetuneSpec
        from store.artifacts.rows import commit, store_pending
        from store.ids import new_id
        from store.jobs.jobs import create_job
        from store.tables import DEFAULT_PROJECT, Checkpoint

        stored = store_pending(
            self.database, self.artifacts, random_pieces(size, self._turn), "checkpoint"
        )
        spec = FinetuneSpec.model_validate(
            {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
        )
        with self.database.session() as session:
            commit(session, self.artifacts, stored)
            row = Checkpoint(
                id=new_id("ckpt"),
                project_id=DEFAULT_PROJECT,
                job_id=create_job(session, spec, project=DEFAULT_PROJECT).id,
                artifact_id=stored.artifact_id,
                architecture="carot-mini",
                method="carot",
                classes=[],
                templates=[],
                metrics={},
            )
            session.add(row)
            session.flush()
            return row.id

    def _read(self, checkpoint_id: str, size: int) -> None:
        from store.tables import Checkpoint

        with self.database.reading() as session:
            key = session.get_one(Checkpoint, checkpoint_id).artifact.ref
        count = sum(len(piece) for piece in self.artifacts.open(key))
        assert count == size * MIB

    def _backup(self) -> None:
        from store.backup.backup import save_backup

        save_backup(self.database, self.artifacts, self.folder / "carot.tar")

    def _restore(self) -> None:
        from store.artifacts.folder import FolderBlobs
        from store.backup.restore import read_backup
        from store.database import Database

        target = self.folder / f"restored{self._turn}"
        database = Database(f"sqlite:///{target / 'carot.db'}")
        try:
            with (self.folder / "carot.tar").open("rb") as file:
                read_backup(database, FolderBlobs(target / "artifacts"), file)
        finally:
            database.close()


def _settings(kind: str, folder: Path) -> Settings:
    from store.settings import Settings

    urls = {
        "folder": (folder / "artifacts").as_uri(),
        "fsspec": f"local://{folder}/objects",
        "sqlite": "database:",
        "postgres": "database:",
    }
    if kind == "postgres":
        return Settings(data_dir=folder, artifacts_url=urls[kind])
    return Settings(data_dir=folder, database_url="", artifacts_url=urls[kind])


def random_pieces(size: int, seed: int) -> Iterator[bytes]:
    """So many pieces of 1 MiB, none like another, without time spent on making them."""
    block = random.Random(seed).randbytes(MIB - 8)
    for i in range(size):
        yield i.to_bytes(8, "big") + block


def watched(act: Callable[[], object], size: int) -> dict[str, float]:
    """How fast it is, and how much more memory it needs at its peak than before."""
    CLEAR.write_text("5", encoding="ascii")  # the peak is now what is used
    before, started = resident("VmHWM"), time.perf_counter()
    act()
    seconds = time.perf_counter() - started
    return {
        "megabytes_per_second": size * MIB / 1e6 / seconds,
        "growth_mebibytes": (resident("VmHWM") - before) / 1024,
    }


def resident(name: str) -> int:
    """A figure of this process' memory in KiB. `ru_maxrss` would also know of its parent's."""
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(name)


class serving:  # noqa: N801 - reads like a function
    """The API on a free port of this process, while the block runs."""

    def __init__(self, settings: Settings) -> None:
        import uvicorn

        from api.app import create_app

        config = uvicorn.Config(create_app(settings), port=0, log_level="error", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        (socket,) = self._server.servers[0].sockets
        return f"http://127.0.0.1:{socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


def _download(url: str, size: int) -> None:
    import httpx

    with httpx.stream("GET", url, headers={"Range": f"bytes=1-{size - 1}"}, timeout=60) as answer:
        answer.raise_for_status()
        assert answer.status_code == httpx.codes.PARTIAL_CONTENT
        count = sum(len(piece) for piece in answer.iter_raw(MIB))
    assert count == size - 1


def table(found: dict[str, dict[str, dict[str, float]]], size: int) -> str:
    """Speeds, growth, and speeds as multiples of the first back end's."""
    first = next(iter(found))
    head = f"{size} MiB   " + "".join(f"{act:>24}" for act in ACTS)
    lines = [head, f"{'':10}" + f"{f'MB/s  x {first}  +MiB':>24}" * len(ACTS)]
    for kind, acts in found.items():
        cells: list[Any] = [kind.ljust(10)]
        for act in ACTS:
            speed, growth = acts[act]["megabytes_per_second"], acts[act]["growth_mebibytes"]
            ratio = speed / found[first][act]["megabytes_per_second"]
            cells.append(f"{f'{speed:.0f}  {ratio:.2f}  {growth:5.1f}':>24}")
        lines.append("".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
