"""`carot keys`: create, list and revoke on the database itself, for whoever may write to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli.options import AsJson, DataDir
from cli.output import emit, err, fail, out, table
from store.access.scopes import SCOPES, Scope

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from store.tables import ApiKey

app = typer.Typer(
    help="API keys, on the database itself: CAROT_DATABASE_URL, or SQLite in the data folder.",
    no_args_is_help=True,
)
DEFAULT_DIR = Path(".carot")
DAY_SECONDS = 86_400.0
PROJECT_LENGTH = 100


@app.command()
def create(
    scope: Annotated[
        list[str], typer.Option("--scope", help=f"Any of {', '.join(SCOPES)}; may be repeated.")
    ],
    name: Annotated[str | None, typer.Option(help="A name for display.")] = None,
    project: Annotated[
        str, typer.Option(help="Its name; created if it does not exist.")
    ] = "default",
    expires: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0.001, max=36_500, help="Days it is valid.")
    ] = None,
    max_running_jobs: Annotated[
        int | None, typer.Option(min=1, help="How many of its jobs may run at once.")
    ] = None,
    data_dir: DataDir = DEFAULT_DIR,
    as_json: AsJson = False,
) -> None:
    """Create a key and show its token, once. From the first key on, every request needs one."""
    unknown = [each for each in scope if each not in SCOPES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]}: a scope is one of {', '.join(SCOPES)}")
    for text, most in ((project, PROJECT_LENGTH), (name or "key", 200)):
        if not text.isprintable() or not 0 < len(text) <= most:
            raise typer.BadParameter(f"{text[:20]!a}: at most {most} printable characters")
    from store.access import keys
    from store.access.projects import ensure_project

    with _session(data_dir, make=True) as session:
        owner = ensure_project(session, project)
        key, token = keys.create_key(
            session,
            owner.id,
            cast("list[Scope]", scope),
            name=name,
            expires_seconds=None if expires is None else expires * DAY_SECONDS,
            max_running_jobs=max_running_jobs,
        )
        document = _document(key, project)
    if as_json:
        emit(document | {"token": token})
        return
    err.print(f"{key.id} of the project {project}; keep this, it is not shown again:", markup=False)
    out.print(token, markup=False, highlight=False, soft_wrap=True)


@app.command("list")
def list_(
    project: Annotated[str | None, typer.Option(help="Only keys of this project.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 200,
    data_dir: DataDir = DEFAULT_DIR,
    as_json: AsJson = False,
) -> None:
    """The keys, newest first, without their secrets."""
    from store.access import keys
    from store.access.projects import find_project, get_project

    with _session(data_dir) as session:
        owner = None if project is None else find_project(session, project).id
        rows = keys.list_keys(session, owner, limit=limit).data
        documents = [_document(row, get_project(session, row.project_id).name) for row in rows]
    if as_json:
        emit(documents)
        return
    columns = ("id", "name", "project", "scopes", "state", "last used")
    cells = [
        (
            d["id"],
            d["name"],
            d["project"],
            " ".join(d["scopes"]),
            _state(d),
            _day(d["last_used_at"]),
        )
        for d in documents
    ]
    out.print(table(None, columns, cells))


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key's id: key_…")],
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Refuse a key from now on, and end its sessions."""
    from store.access import keys

    with _session(data_dir) as session:
        # Who pastes a whole token means its key; the secret must not come back in a message.
        keys.revoke_key(session, None, key.partition(".")[0])


@contextmanager
def _session(data_dir: Path, *, make: bool = False) -> Iterator[Session]:
    """A transaction on the service's database; with `make`, a new database gets its tables."""
    from sqlalchemy import inspect
    from sqlalchemy.exc import SQLAlchemyError

    from store.database import Database
    from store.errors import NotFound
    from store.settings import Settings
    from store.tables import ApiKey

    settings = Settings(data_dir=data_dir)
    file = settings.data_dir / "carot.db"
    if not make and settings.database_url == f"sqlite:///{file}" and not file.exists():
        _leave(f"there is no database in {settings.data_dir}")
    database = Database(settings.database_url)
    try:
        tables = inspect(database.engine).get_table_names()
        if make and not tables:
            database.upgrade()
        elif ApiKey.__tablename__ not in tables:
            _leave("the database is older than this command: python -m migrations.upgrade")
        with database.session() as session:
            yield session
    except NotFound as error:
        _leave(str(error))
    except SQLAlchemyError as error:
        _leave(f"the database cannot be used: {error}")
    finally:
        database.close()


def _leave(message: str) -> None:
    fail(message)
    raise typer.Exit(1)


def _document(key: ApiKey, project: str) -> dict[str, Any]:
    times = {
        name: None if moment is None else moment.isoformat()
        for name in ("created_at", "expires_at", "revoked_at", "last_used_at")
        for moment in (getattr(key, name),)
    }
    return {
        "id": key.id,
        "name": key.name,
        "project": project,
        "scopes": key.scopes,
        "max_running_jobs": key.max_running_jobs,
        **times,
    }


def _state(document: dict[str, Any]) -> str:
    if document["revoked_at"]:
        return "revoked"
    expires_at = document["expires_at"]
    if expires_at is None:
        return "valid"
    ended = datetime.fromisoformat(expires_at) <= datetime.now(UTC)
    return "expired" if ended else f"valid until {_day(expires_at)}"


def _day(moment: str | None) -> str | None:
    return None if moment is None else moment[:10]
