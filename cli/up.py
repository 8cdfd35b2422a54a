"""`carot up`: the service on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.embedded import CannotStart, Embedded
from cli.options import AsJson, DataDir
from cli.output import emit, err, out

LOOPBACK = ("127.0.0.1", "localhost", "::1")


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
        bool, typer.Option("--insecure", help="Listen for other machines without asking for keys.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the service on this machine: API, worker and database under one folder."""
    if host not in LOOPBACK and not insecure:
        raise CannotStart(
            f"{host} can be reached from other machines, and without keys anybody there could do "
            "everything; use 127.0.0.1, or --insecure if that is what you want"
        )
    service = Embedded(data_dir, host=host, port=port, insecure=insecure)
    with err.status("starting the service"):
        service.__enter__()
    try:
        service.wait(lambda: _announce(service, as_json))
    finally:
        with err.status("stopping the service"):
            service.stop()


def _announce(service: Embedded, as_json: bool) -> None:
    if as_json:
        emit({"url": service.url, "data_dir": str(service.data_dir)})
    else:
        out.print(f"CaRot listens at [bold]{service.url}[/]")
        out.print(f"data and logs in {service.data_dir}; Ctrl-C stops it", highlight=False)
