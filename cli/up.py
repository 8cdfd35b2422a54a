"""`carot up`: the service on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.embedded import CannotStart, Embedded
from cli.options import AsJson, DataDir
from cli.output import emit, err, out


def up(
    data_dir: DataDir = Path(".carot"),
    host: Annotated[str, typer.Option(envvar="CAROT_HOST", help="Address to listen on.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int,
        typer.Option(envvar="CAROT_PORT", min=0, max=65535, help="0 picks a free port."),
    ] = 8000,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen for other machines even without keys.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the service on this machine: API, worker and database under one folder."""
    _refuse_strangers(data_dir, host, insecure)
    service = Embedded(data_dir, host=host, port=port, insecure=insecure)
    with err.status("starting the service"):
        service.__enter__()
    try:
        service.wait(lambda: _announce(service, as_json))
    finally:
        with err.status("stopping the service"):
            service.stop()


def _refuse_strangers(data_dir: Path, host: str, insecure: bool) -> None:
    """The API would refuse as well; here nothing has been started or written yet."""
    from sqlalchemy.exc import SQLAlchemyError

    from api.access.exposure import has_keys, is_loopback, refusal
    from store.settings import Settings

    if is_loopback(host) or insecure:
        return
    try:
        closed = has_keys(Settings(data_dir=data_dir).database_url)
    except SQLAlchemyError as error:
        raise CannotStart(f"the database cannot be asked for keys: {error}") from error
    if not closed:
        raise CannotStart(refusal(host))


def _announce(service: Embedded, as_json: bool) -> None:
    if as_json:
        emit({"url": service.url, "data_dir": str(service.data_dir)})
    else:
        out.print(f"CaRot listens at [bold]{service.url}[/]")
        out.print(f"data and logs in {service.data_dir}; Ctrl-C stops it", highlight=False)
