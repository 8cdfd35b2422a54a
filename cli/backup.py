"""`carot backup` and `carot restore`: everything the service keeps, in one file and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, DataDir
from cli.output import bars, emit, err, fail, out, size

if TYPE_CHECKING:
    from store.artifacts import ArtifactStore
    from store.backup.backup_file import Manifest, Progress
    from store.database import Database

STREAM = "-"


def backup(
    file: Annotated[str, typer.Argument(help="Where to; replaced once whole. `-` is stdout.")],
    data_dir: DataDir = Path(".carot"),
    as_json: AsJson = False,
) -> None:
    """Copy all rows, as they are at one moment, and all artifacts, while the service runs."""
    from store.backup.backup import save_backup, write_backup

    if file == STREAM and as_json:
        raise typer.BadParameter("--json and a backup cannot both go to stdout")
    with _service(data_dir) as (database, artifacts), _progress("copying") as progress:
        if file == STREAM:
            manifest = write_backup(database, artifacts, sys.stdout.buffer, progress)
            sys.stdout.buffer.flush()
        else:
            manifest = save_backup(database, artifacts, Path(file), progress)
    _tell(f"backed up to {file}", manifest, as_json, quiet=file == STREAM)


def restore(
    file: Annotated[str, typer.Argument(help="A backup. `-` is stdin.")],
    data_dir: DataDir = Path(".carot"),
    as_json: AsJson = False,
) -> None:
    """Fill a new, empty database and artifact store with a backup. The service must not run."""
    from store.backup.restore import read_backup

    if file != STREAM and not Path(file).is_file():
        raise typer.BadParameter(f"{file}: no such file")
    with _service(data_dir) as (database, artifacts), _progress("restoring") as progress:
        if file == STREAM:
            manifest = read_backup(database, artifacts, sys.stdin.buffer, progress)
        else:
            with Path(file).open("rb") as opened:
                manifest = read_backup(database, artifacts, opened, progress)
    _tell(f"restored from {file}", manifest, as_json)


@contextmanager
def _service(data_dir: Path) -> Iterator[tuple[Database, ArtifactStore]]:
    """What the service's own settings name; errors become words."""
    from pydantic import ValidationError
    from sqlalchemy.exc import SQLAlchemyError

    from store.artifacts import open_store
    from store.database import Database
    from store.errors import StoreError
    from store.settings import Settings

    try:
        settings = Settings(data_dir=data_dir)
        database = Database(settings.database_url)
        try:
            yield database, open_store(settings, database)
        finally:
            database.close()
    except (StoreError, SQLAlchemyError, ValidationError) as error:
        fail(str(error))
        raise typer.Exit(1) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(f"{error.filename or 'the disk'}: {error.strerror or error}")
        raise typer.Exit(1) from error


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    with bars() as progress:
        task = progress.add_task(what, total=None, note="")

        def advance(done: int, total: int) -> None:
            note = f"{size(done)} of {size(total)}"
            progress.update(task, completed=done, total=total, note=note)

        yield advance


def _tell(what: str, manifest: Manifest, as_json: bool, *, quiet: bool = False) -> None:
    document: dict[str, Any] = manifest.model_dump(mode="json")
    if as_json:
        emit(document)
        return
    rows = sum(table.rows for table in manifest.tables.values())
    kept = f"{manifest.artifacts.count} artifacts of {size(manifest.artifacts.bytes)}"
    moment = f"{manifest.created_at:%Y-%m-%d %H:%M:%S} UTC"
    console = err if quiet else out
    console.print(f"{what}: {rows} rows, {kept}, as of {moment}", markup=False, highlight=False)
