"""From an archive, a folder or a name to a stored data set. Blocking: call it in a thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from api.datasets.bundled import DIGITS, bundled_digits
from api.datasets.schemas import DatasetView
from api.datasets.state import DatasetsState
from api.web.problems import invalid
from api.web.uploads import scratch
from carot.data.decoding.depth import UNKNOWN
from carot.data.formats.archive_process import ApartLimits, normalise_apart
from carot.errors import DataError
from carot.specs.base import OnCopies
from carot.warnings import CodedWarning
from store.artifacts import ArtifactStore
from store.artifacts.base import NO_SPACE
from store.artifacts.rows import Stored, commit, drop_pending, store_pending
from store.datasets.datasets import create_dataset
from store.datasets.roots import beneath
from store.errors import NoSpace, NotBeneathRoot
from store.tables import Dataset

UNREADABLE = 1000
"""Most names of images left out that are kept."""
FOUND = frozenset({"warnings", "unreadable", "unreadable_images", "near_copies"})
"""What checking an upload found; kept in the row beside where it came from."""
DEPTH = "depth"
"""The same, for who decodes its images."""


@dataclass(frozen=True)
class Draft:
    """A data set whose bytes are stored and whose row is not written yet."""

    name: str
    source: Mapping[str, Any]
    classes: list[str]
    splits: Mapping[str, Mapping[str, int]]
    images: int
    bytes: int
    stored: Stored | None

    def record(self, session: Session, project: str, artifacts: ArtifactStore) -> Dataset:
        """Commit the bytes and write the row, in the caller's transaction."""
        bundle = None if self.stored is None else commit(session, artifacts, self.stored)
        return create_dataset(
            session,
            project,
            name=self.name,
            source=self.source,
            classes=self.classes,
            splits=self.splits,
            images=self.images,
            bytes=self.bytes,
            artifact=bundle,
        )

    def drop(self, state: DatasetsState) -> None:
        """Give up the bytes."""
        if self.stored is not None:
            drop_pending(state.database, state.artifacts, self.stored)


def from_file(
    state: DatasetsState,
    path: Path,
    name: str,
    source: Mapping[str, Any],
    copies: OnCopies,
    *,
    field: str = "file",
) -> Draft:
    """Check an archive or a folder and store its bundle.

    Raises:
        DataError: it cannot be used; nothing is left behind.
        NoSpace: the disk is full.
    """
    settings = state.settings
    limits = ApartLimits(settings.ingest_memory_bytes, settings.ingest_seconds)
    with scratch(state.context.scratch) as folder:
        bundle = folder / "bundle.tar"
        try:
            manifest = normalise_apart(path, bundle, limits, copies)
        except DataError as error:
            error.field = field
            raise
        except OSError as error:
            if error.errno in NO_SPACE:
                raise NoSpace("no space left to unpack the upload") from error
            raise
        with bundle.open("rb") as file:
            stored = store_pending(
                state.database, state.artifacts, file, "dataset", name=f"{name}.tar"
            )
    if manifest.warnings:
        warnings = [each.model_dump(mode="json") for each in manifest.warnings]
        source = {**source, "warnings": warnings}
    if manifest.depth != UNKNOWN:
        source = {**source, DEPTH: asdict(manifest.depth)}
    if manifest.near_copies:
        source = {**source, "near_copies": [asdict(each) for each in manifest.near_copies]}
    if manifest.unreadable:
        listed = list(manifest.unreadable[:UNREADABLE])
        source = {**source, "unreadable": listed, "unreadable_images": len(manifest.unreadable)}
    return Draft(
        name,
        source,
        list(manifest.classes),
        manifest.splits,
        manifest.images,
        manifest.bytes,
        stored,
    )


def from_folder(
    state: DatasetsState, relative: str | None, name: str | None, copies: OnCopies
) -> Draft:
    """A folder beneath the configured root; wherever its links lead, it must stay there.

    Raises:
        Problem: no root is configured, or the path is not a folder beneath it.
        DataError: the folder cannot be used.
    """
    root = state.settings.dataset_root
    if root is None:
        raise invalid("source", "this server has no CAROT_DATASET_ROOT, so upload an archive")
    if relative is None:
        raise invalid("path", "is needed with `source: folder`")
    try:
        path = beneath(root, relative)
    except NotBeneathRoot as error:
        raise invalid("path", str(error)) from None
    if not path.is_dir():
        raise invalid("path", "no such folder beneath the server's data set root")
    source = {"source": "folder", "path": relative}
    return from_file(state, path, name or path.name, source, copies, field="path")


def from_bundled(reference: str, name: str | None) -> Draft:
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
    return Draft(
        name or "handwritten digits",
        {"source": reference},
        list(contents.classes),
        splits,
        sum(contents.images.values()),
        0,
        None,
    )


def view(row: Dataset) -> DatasetView:
    """A stored data set as the API shows it."""
    source = {k: v for k, v in row.source.items() if k not in FOUND and k != DEPTH}
    found = {k: v for k, v in row.source.items() if k in FOUND}
    found["near_copies"] = len(found.get("near_copies", []))
    found["warnings"] = [_coded(each) for each in found.get("warnings", [])]
    return DatasetView.model_validate(row).model_copy(update={"source": source, **found})


def _coded(warning: str | dict[str, Any]) -> CodedWarning:
    """Earlier releases stored a sentence only."""
    if isinstance(warning, str):
        return CodedWarning(code="other", message=warning)
    return CodedWarning.model_validate(warning)
