"""Stores what a run left in its folder as artifacts and rows, all of them or none."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from carot.evaluation.reports import Report
from carot.events import Warning
from carot.warnings import HOLDING, CodedWarning
from store.artifacts import ArtifactStore
from store.artifacts.base import saying_no_space
from store.artifacts.bundles import pack
from store.artifacts.rows import Stored, commit, discard, drop_pending, store_pending
from store.database import Database
from store.jobs.claims import Claim, record_event, set_snapshot, succeed
from store.jobs.warnings import add_warnings
from store.models.aliases import set_alias
from store.models.checkpoints import create_checkpoint
from store.predictions.files import PREDICTIONS
from store.reports.reports import create_report
from worker import layout
from worker.materialise import Check, Materials

LINKING_TRIES = 50
PARQUET = "application/vnd.apache.parquet"
PIECE = 1 << 20


@dataclass(frozen=True)
class Linked:
    """One version of the snapshot, which stays as it is whatever the trainer does meanwhile."""

    folder: Path
    step: int


class Results:
    """Stores what one attempt made.

    Args:
        check: called between pieces; raises to give up.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        held: Claim,
        folder: Path,
        check: Check,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._held = held
        self._folder = folder
        self._check = check

    @contextmanager
    def linked_snapshot(self) -> Iterator[Linked | None]:
        """The snapshot as it is now; None when it is gone, or replaced faster than it is linked."""
        folder = self._link_snapshot()
        try:
            if folder is None:
                yield None
            else:
                state = json.loads((folder / layout.SNAPSHOT_STATE).read_bytes())
                yield Linked(folder, int(state["step"]))
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def keep_snapshot(self, snapshot: Linked) -> None:
        """Store a snapshot, point the job at it, and delete the one before.

        Raises:
            StaleFence: the job is no longer this worker's.
            NoSpace: there is no room; the snapshot before stands.
        """
        stored = self._store_packed(snapshot.folder, "snapshot")
        with self._dropped_on_error(stored), self._database.session() as session:
            commit(session, self._artifacts, stored, self._held)
            previous = set_snapshot(session, self._held, stored.artifact_id, snapshot.step)
            message = f"step {snapshot.step}"
            data = {"step": snapshot.step, "bytes": stored.blob.size}
            record_event(session, self._held, "snapshot_saved", message, data=data)
        if previous is not None:
            discard(self._database, self._artifacts, previous)

    def keep(self, materials: Materials) -> None:
        """List checkpoint, logits and report, set the alias and end the job: one transaction.

        What a `select` job gives is no new checkpoint but the chosen one; what a `predict` job
        gives is a file of predictions and nothing else.

        Raises:
            StaleFence: the job is no longer this worker's.
            IllegalTransition: it is being cancelled.
            NoSpace: there is no room; nothing is listed.
        """
        if self._held.kind == "predict":
            self._keep_predictions()
            return
        report = Report.model_validate_json((self._folder / layout.REPORT).read_bytes())
        with ExitStack() as stack:
            checkpoint = self._store_folder(stack, layout.CHECKPOINT, "checkpoint")
            logits = self._store_folder(stack, layout.LOGITS, "logits")
            with self._database.session() as session:
                given = self._chosen(report, materials)
                if checkpoint is not None:
                    given = self._list_checkpoint(session, checkpoint, report)
                if logits is not None:
                    commit(session, self._artifacts, logits, self._held)
                row = create_report(
                    session,
                    self._held,
                    checkpoint_id=given or self._held.spec["model"]["checkpoint"],
                    document=self._document(report, materials),
                    logits_artifact_id=None if logits is None else logits.artifact_id,
                )
                warnings = list(report.warnings)
                if given is not None:
                    warnings += self._move_alias(session, given, report)
                add_warnings(session, self._held, warnings)
                succeed(session, self._held, checkpoint_id=given, report_id=row.id)

    def _move_alias(self, session: Session, given: str, report: Report) -> list[CodedWarning]:
        """Point the job's alias at the checkpoint; the warning that says why it was not."""
        alias = self._held.alias
        if alias is None:
            return []
        held_back = [each.message for each in report.warnings if each.code in HOLDING]
        if not held_back or self._held.alias_when == "always":
            set_alias(session, self._held.project_id, alias, given)
            return []
        message = f"{alias} was not pointed at {given}: {held_back[0]}"
        warning = Warning(code="alias_not_moved", message=message)
        data = warning.model_dump(mode="json", exclude={"type"})
        record_event(session, self._held, warning.type, message, level="warning", data=data)
        return [warning.coded()]

    def _keep_predictions(self) -> None:
        """List the file and what it says on the whole, and end the job: one transaction."""
        summary = json.loads((self._folder / layout.SUMMARY).read_bytes())
        with (self._folder / layout.PREDICTIONS).open("rb") as file:
            pieces = iter(lambda: file.read(PIECE), b"")
            stored = self._store(pieces, PREDICTIONS, f"{PREDICTIONS}.parquet", PARQUET)
        with self._dropped_on_error(stored), self._database.session() as session:
            commit(session, self._artifacts, stored, self._held)
            data = {**summary, "bytes": stored.blob.size, "sha256": stored.blob.sha256}
            message = f"{summary['images']} images"
            record_event(session, self._held, "predictions_saved", message, data=data)
            succeed(session, self._held)

    def _list_checkpoint(self, session: Session, stored: Stored, report: Report) -> str:
        commit(session, self._artifacts, stored, self._held)
        card = json.loads((self._folder / layout.CHECKPOINT / layout.CARD).read_bytes())
        calibrator = self._folder / layout.CHECKPOINT / layout.CALIBRATOR
        row = create_checkpoint(
            session,
            self._held,
            artifact_id=stored.artifact_id,
            architecture=card["architecture"],
            method=card["method"],
            classes=card["classes"],
            templates=card["templates"],
            calibrator=json.loads(calibrator.read_bytes()) if calibrator.exists() else None,
            metrics=_headlines(report),
            warnings=report.warnings,
        )
        return row.id

    def _chosen(self, report: Report, materials: Materials) -> str | None:
        """The checkpoint, there before, that a `select` job chose; None for other kinds."""
        if self._held.kind != "select":
            return None
        [model] = [each.model for each in report.candidates if each.chosen]
        assert model is not None
        assert model.folder is not None
        return materials.checkpoints[model.folder]

    def _document(self, report: Report, materials: Materials) -> dict[str, Any]:
        """The report, speaking of data sets and checkpoints as the job's own spec does."""
        document = report.model_dump(mode="json")
        spec = self._held.spec | _chosen_by_run(document["spec"])
        document |= {"spec": spec, "model": spec.get("model"), "dataset": spec["dataset"]}
        candidates = document["candidates"]
        rows = chain(
            document["datasets"],
            document["before"],
            (document["unseen"] or {}).get("rows", ()),
            *(each["datasets"] for each in candidates),
        )
        for row in rows:
            row["dataset"] = materials.references.get(row["dataset"], row["dataset"])
        for model in (each["model"] for each in candidates):
            if model is not None and model["folder"] in materials.checkpoints:
                model |= {"checkpoint": materials.checkpoints[model["folder"]], "folder": None}
        return document

    def _store_folder(self, stack: ExitStack, name: str, kind: str) -> Stored | None:
        if not (self._folder / name).is_dir():
            return None
        stored = self._store_packed(self._folder / name, kind)
        stack.enter_context(self._dropped_on_error(stored))
        return stored

    def _store_packed(self, folder: Path, kind: str) -> Stored:
        return self._store(pack(folder), kind, f"{kind}.tar", "application/x-tar")

    def _store(self, pieces: Iterable[bytes], kind: str, name: str, media_type: str) -> Stored:
        with saying_no_space(f"the {kind}"):
            return store_pending(
                self._database,
                self._artifacts,
                self._checked(pieces),
                kind,
                held=self._held,
                media_type=media_type,
                name=name,
            )

    def _checked(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._check()
            yield piece

    @contextmanager
    def _dropped_on_error(self, stored: Stored) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(SQLAlchemyError):  # the sweep finds it when the database is back
                drop_pending(self._database, self._artifacts, stored)
            raise

    def _link_snapshot(self) -> Path | None:
        """Links to one version of the snapshot's files; the trainer may replace it meanwhile."""
        source = self._folder / layout.SNAPSHOT
        target = self._folder / f"{layout.SNAPSHOT}.storing"
        for _ in range(LINKING_TRIES):
            shutil.rmtree(target, ignore_errors=True)
            try:
                version = _version(source)
                target.mkdir()
                for path in source.iterdir():
                    os.link(path, target / path.name)
                if _version(source) == version:
                    return target
            except FileNotFoundError:
                pass
            time.sleep(0.05)
        shutil.rmtree(target, ignore_errors=True)
        return None


def _version(folder: Path) -> tuple[int, int]:
    """Another one for each folder of a name: the number of one that is gone is given away again."""
    status = folder.stat()
    return status.st_ino, status.st_ctime_ns  # a rename changes it


def _chosen_by_run(spec: dict[str, Any]) -> dict[str, Any]:
    """What a job may leave open until its images are counted."""
    return {name: spec[name] for name in ("training",) if name in spec}


def _headlines(report: Report) -> dict[str, Any]:
    row = next((row for row in report.datasets if row.in_distribution), None)
    mean = report.ood_mean
    return {
        "in_distribution": None if row is None else row.headline(),
        "ood_mean": None if mean is None else mean.model_dump(mode="json"),
    }
