"""What pg_dump does to artifacts that lie in Postgres as chunks.

    python benchmarks/pg_dump.py [--mebibytes 200] [--json FILE]

Fills a fresh database with chunks of random bytes, as weights nearly are, and prints how long
dumps of it take, and how large they are beside the chunks: plain `-Fc`, `-Fc -Z0`, and without the
chunks' data; then how long the first two take to be restored, and `carot backup` beside them. The
server is the private one of the tests, which does not wait for the disk (fsync off).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MIB = 1 << 20
WAYS = {
    "-Fc": ["-Fc"],
    "-Fc -Z0": ["-Fc", "-Z0"],
    "-Fc --exclude-table-data=blob_chunks": ["-Fc", "--exclude-table-data=blob_chunks"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=200)
    parser.add_argument("--json", type=Path, default=Path("build/pg_dump.json"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        from tests.services import stop_all

        try:
            found = measured(Path(name), options.mebibytes)
        finally:
            stop_all(Path(name))
    for way, figures in found.items():
        restored = figures.get("restore_seconds")
        back = "" if restored is None else f", restored in {restored:.1f} s"
        print(f"{way:40}{figures['seconds']:7.1f} s {figures['ratio']:7.3f} x the bytes{back}")
    from benchmarks.provenance import write_results

    write_results(options.json, {"mebibytes": options.mebibytes, "ways": found})


def measured(folder: Path, size: int) -> dict[str, dict[str, float]]:
    """Seconds, and bytes of the file for each byte of the chunks, by way of dumping."""
    from benchmarks.artifacts import random_pieces
    from store.artifacts.database import DatabaseBlobs
    from store.artifacts.rows import commit, store_pending
    from store.backup.backup import save_backup
    from store.database import Database
    from tests.databases import PostgresServer
    from tests.programs import find_programs
    from tests.services import ensure

    server = PostgresServer(ensure("postgres", folder, os.getpid()), folder)
    programs = find_programs("postgres")[0].resolve().parent
    found: dict[str, dict[str, float]] = {}
    with server.fresh() as url:
        database = Database(url)
        blobs = DatabaseBlobs(database)
        stored = store_pending(database, blobs, random_pieces(size, 0), "checkpoint")
        with database.session() as session:
            commit(session, blobs, stored)
        for way, flags in WAYS.items():
            file = folder / "dump"
            command = [str(programs / "pg_dump"), *flags, "-d", url, "-f", str(file)]
            found[way] = _figures(lambda command=command: _run(command), file, size)  # type: ignore[misc]
            if way != list(WAYS)[-1]:
                with server.fresh(migrated=False) as target:
                    command = [str(programs / "pg_restore"), "-d", target, str(file)]
                    found[way]["restore_seconds"] = _seconds(lambda c=command: _run(c))  # type: ignore[misc]
        file = folder / "carot.tar"
        found["carot backup"] = _figures(lambda: save_backup(database, blobs, file), file, size)
        database.close()
    return found


def _figures(act: Callable[[], Any], file: Path, size: int) -> dict[str, float]:
    seconds = _seconds(act)
    return {"seconds": seconds, "ratio": file.stat().st_size / (size * MIB)}


def _seconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
