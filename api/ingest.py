"""From an archive, a folder or a name to a stored data set. Blocking: call it in a thread."""

from __future__ import annotations

from pathlib import Path

from store.tables import Dataset

from api.checks import DIGITS, bundled_digits
from api.context import Context
from api.problems import invalid
from api.schemas.datasets import DatasetView
from api.uploads import scratch
from carot.data.archives import Manifest, normalise
from carot.errors import DataError
from store import datasets as store


def from_file(
    context: Context, path: Path, name: str, source: dict[str, str], *, field: str = "file"
) -> DatasetView:
    """Check an archive or folder, store its bundle, and list it only once that is whole.

    Raises:
        DataError: it cannot be used; nothing is left behind.
    """
    with scratch(context.scratch) as folder:
        bundle = folder / "bundle.tar"
        try:
            with bundle.open("w+b") as file:
                manifest = normalise(path, file)
                file.seek(0)
                reference = context.artifacts.put(file)
        except DataError as error:
            error.field = field
            raise
    with context.database.session() as session:
        row = store.create_dataset(
            session,
            name=name,
            source=source | _remarks(manifest),
            classes=list(manifest.classes),
            splits=manifest.splits,
            images=manifest.images,
            bytes=manifest.bytes,
            artifact=reference,
        )
        return view(row)


def from_folder(context: Context, relative: str | None, name: str | None) -> DatasetView:
    """A folder beneath the configured root; wherever its links lead, it must stay there.

    Raises:
        Problem: no root is configured, or the path is not a folder beneath it.
    """
    root = context.settings.dataset_root
    if root is None:
        raise invalid("source", "this server has no CAROT_DATASET_ROOT, so upload an archive")
    if relative is None:
        raise invalid("path", "is needed with `source: folder`")
    root = root.resolve()
    try:
        path = (root / relative).resolve()
        inside = path.is_relative_to(root) and path.is_dir()
    except (OSError, ValueError, RuntimeError):  # null characters, circles of links
        inside = False
    if not inside:
        raise invalid("path", "no such folder beneath the server's data set root")
    source = {"source": "folder", "path": relative}
    return from_file(context, path, name or path.name, source, field="path")


def from_bundled(context: Context, reference: str, name: str | None) -> DatasetView:
    """A data set that comes with the project; nothing is copied."""
    assert reference == DIGITS
    from carot.data.digits import handwritten_digits

    contents = bundled_digits()
    splits = {}
    for split in contents.images:
        labels = handwritten_digits(split).labels
        splits[split] = {
            label: int((labels == i).sum()) for i, label in enumerate(contents.classes)
        }
    with context.database.session() as session:
        row = store.create_dataset(
            session,
            name=name or "handwritten digits",
            source={"source": reference},
            classes=list(contents.classes),
            splits=splits,
            images=sum(contents.images.values()),
            bytes=0,
            artifact=None,
        )
        return view(row)


def view(row: Dataset) -> DatasetView:
    """A stored data set as the API shows it."""
    shown = DatasetView.model_validate(row)
    warnings = shown.source.pop("warnings", [])
    return shown.model_copy(update={"warnings": warnings})


def _remarks(manifest: Manifest) -> dict[str, list[str]]:
    return {"warnings": list(manifest.warnings)} if manifest.warnings else {}
