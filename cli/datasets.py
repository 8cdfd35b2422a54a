"""`carot datasets`: push and list."""

from __future__ import annotations

import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from carot.data.tables.reader import is_table
from carot.specs.base import OnCopies
from cli.client import Client, Document
from cli.options import DEFAULT_URL, AsJson, Url
from cli.output import bars, emit, err, out, size, table, warn

app = typer.Typer(help="Data sets of the service.", no_args_is_help=True)


@app.command()
def push(
    path: Annotated[
        str, typer.Argument(help="A zip, tar or tar.gz, a folder, or `builtin:digits`.")
    ],
    name: Annotated[
        str | None, typer.Option(help="A name for display; the file's name by default.")
    ] = None,
    refuse_copies: Annotated[
        bool,
        typer.Option(help="Refuse images that are in two splits, instead of leaving them out."),
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Upload images: `class/name.png`, with or without split folders, or with a table."""
    with Client(url) as client:
        if path.startswith("builtin:"):
            body: Document = {"source": path} | ({"name": name} if name else {})
            dataset = client.post("/datasets", body)
        else:
            source = Path(path)
            if not source.exists():
                raise typer.BadParameter(f"{path}: no such file or folder")
            if source.is_file() and is_table(source.name):
                raise typer.BadParameter(
                    f"{path} names images; push the folder that holds it and them"
                )
            with TemporaryDirectory() as scratch:
                archive = _archive(source, Path(scratch)) if source.is_dir() else source
                copies: OnCopies = "refuse" if refuse_copies else "leave_out"
                dataset = _upload(client, archive, name or source.name, copies)
    if as_json:
        emit(dataset)
        return
    out.print(f"[bold]{dataset['id']}[/]: {_summary(dataset)}")
    warn(dataset["warnings"])


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1)] = 50,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """The data sets, newest first."""
    with Client(url) as client:
        datasets = client.pages("/datasets", limit=limit)
    if as_json:
        emit(datasets)
        return
    rows = [
        (
            d["id"],
            d["name"],
            len(d["classes"]),
            d["images"],
            size(d["bytes"]),
            len(d["warnings"]) or "",
            d["created_at"][:19],
        )
        for d in datasets
    ]
    header = ("id", "name", ">classes", ">images", ">size", ">warnings", "created")
    out.print(table(None, header, rows))


def _archive(folder: Path, scratch: Path) -> Path:
    archive = scratch / "images.tar"
    with err.status(f"packing {folder}"), tarfile.open(archive, "w") as tar:
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if not hidden and (path.is_dir() or path.is_file()):
                entry = tar.gettarinfo(path.resolve(), path.relative_to(folder).as_posix())
                if entry.isreg():
                    with path.open("rb") as file:
                        tar.addfile(entry, file)
                else:
                    tar.addfile(entry)
    return archive


def _upload(client: Client, archive: Path, name: str, copies: OnCopies) -> Document:
    total = archive.stat().st_size
    with bars() as progress:
        task = progress.add_task("uploading", total=total, note="")

        def advance(count: int) -> None:
            progress.advance(task, count)
            if progress.tasks[0].completed >= total:
                progress.update(task, description="checking", note="every image is opened")

        return client.upload(archive, name, advance, copies)


def _summary(dataset: Document) -> str:
    splits = ", ".join(f"{k} {sum(v.values())}" for k, v in dataset["splits"].items())
    return (
        f"{dataset['images']} images of {len(dataset['classes'])} classes, "
        f"{size(dataset['bytes'])} ({splits})"
    )
