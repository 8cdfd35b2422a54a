"""Copies everything that a run needs to a folder, and rewrites its spec to refer to that.

    FOLDER/spec.json                 the spec, with `folder:datasets/ds_…` for `ds_…` and rows
                                     for a suite that lies under the root
    FOLDER/datasets/ds_…/            image folders
    FOLDER/datasets/root             a link to the data set root of this worker
    FOLDER/models/ckpt_…/            the checkpoints that it names
    FOLDER/snapshot/                 where an earlier attempt got to

Paths are relative to the folder, so that the same job has the same spec in every attempt: a
snapshot belongs to one spec.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carot.evaluation.suites import suite_rows
from carot.specs import EvaluationSpec
from store.artifacts import ArtifactStore
from store.artifacts.base import saying_no_space
from store.artifacts.bundles import unpack
from store.artifacts.rows import get_artifact
from store.database import Database
from store.datasets.datasets import get_dataset
from store.datasets.roots import check_contents, is_path
from store.errors import ArtifactError, NoSpace, NotFound
from store.jobs.claims import Claim
from store.jobs.references import checkpoints_in, dataset_rows, datasets_in
from store.models.checkpoints import get_checkpoint
from store.retention.deletion import check_there
from worker import layout

DATASET_PREFIX = "ds_"
Check = Callable[[], None]


@dataclass
class Materials:
    """What a run was given.

    Attributes:
        references: local data set reference to the one in the job's own spec.
        checkpoints: local model folder to the id of the checkpoint in it.
        snapshot_lost: why an earlier snapshot could not be used, if there was one.
    """

    references: dict[str, str] = field(default_factory=dict)
    checkpoints: dict[str, str] = field(default_factory=dict)
    snapshot_lost: str | None = None


class Materialiser:
    """Fills the folder of one attempt.

    Args:
        check: called between pieces; raises to give up.
        root: the folder beneath which jobs may name files.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        folder: Path,
        check: Check,
        root: Path | None = None,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._folder = folder
        self._check = check
        self._root = root

    def prepare(self, held: Claim) -> Materials:
        """Fetch what `held`'s spec names and write the spec beside it.

        Raises:
            NotFound: there is no such data set or checkpoint any more.
            NotBeneathRoot: a file that it names is none of this worker's.
            DataError: a CSV file that it names cannot be read.
            SpecError: a suite that it names is none of this worker's.
            ArtifactError: its bytes are missing or damaged, or the disk is full.
        """
        materials = Materials()
        with saying_no_space("the files of the job"):
            self._folder.mkdir(parents=True)
            spec: dict[str, Any] = json.loads(json.dumps(held.spec))
            _expand_suite(spec)
            local = {
                name: self._dataset(held.project_id, name)
                for name in dict.fromkeys(datasets_in(spec))
            }
            _rewrite(spec, local)
            materials.references = {mine: given for given, mine in local.items() if is_path(mine)}
            for model in checkpoints_in(spec):
                folder = f"{layout.MODELS}/{model['checkpoint']}"
                if folder not in materials.checkpoints:
                    self._checkpoint(held.project_id, model["checkpoint"], folder)
                    materials.checkpoints[folder] = model["checkpoint"]
                model |= {"checkpoint": None, "folder": folder}
            if held.snapshot_artifact_id is not None:
                materials.snapshot_lost = self._snapshot(held.snapshot_artifact_id)
            (self._folder / layout.SPEC).write_text(json.dumps(spec), encoding="utf-8")
        return materials

    def _dataset(self, project: str, reference: str) -> str:
        if is_path(reference):
            return self._files(reference)
        if not reference.startswith(DATASET_PREFIX):
            return reference
        with self._database.reading() as session:
            dataset = get_dataset(session, project, reference)
            check_there(dataset)
            key = None if dataset.artifact is None else dataset.artifact.ref
            source = str(dataset.source.get("source", ""))
        if key is None:
            return source  # one that comes with the project
        target = f"{layout.DATASETS}/{reference}"
        self._fetch(key, target)
        return f"folder:{target}"

    def _files(self, reference: str) -> str:
        """Through a link: the spec is then the same on workers whose roots differ."""
        check_contents(self._root, reference)
        assert self._root is not None, "checked"
        link = self._folder / layout.DATASETS / layout.ROOT
        if not link.is_symlink():
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(self._root.resolve(), target_is_directory=True)
        scheme, _, relative = reference.partition(":")
        return f"{scheme}:{layout.DATASETS}/{layout.ROOT}/{relative}"

    def _checkpoint(self, project: str, checkpoint_id: str, target: str) -> None:
        with self._database.reading() as session:
            checkpoint = get_checkpoint(session, project, checkpoint_id)
            check_there(checkpoint)
            key = checkpoint.artifact.ref
        self._fetch(key, target)

    def _snapshot(self, artifact_id: str) -> str | None:
        """Without it the run starts again, which costs time but no result."""
        try:
            with self._database.reading() as session:
                key = get_artifact(session, artifact_id).ref
            self._fetch(key, layout.SNAPSHOT)
        except NoSpace:
            raise
        except (NotFound, ArtifactError) as error:
            return str(error)
        return None

    def _fetch(self, key: str, target: str) -> None:
        final = self._folder / target
        temporary = final.with_name(f"{final.name}.fetching")
        unpack(self._checked(self._artifacts.open(key)), temporary)
        temporary.rename(final)

    def _checked(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._check()
            yield piece


def _expand_suite(spec: dict[str, Any]) -> None:
    """A suite of files becomes its rows, so that each is found like any other data set.

    Raises:
        SpecError: a suite that this worker lacks, or has otherwise than the API.
    """
    if "evaluation" not in spec:
        return
    evaluation = EvaluationSpec.model_validate(spec["evaluation"])
    if evaluation.suite is None or evaluation.root is None:
        return
    # Suites under a root measure data sets of which they know the split.
    rows = suite_rows(evaluation.suite, evaluation, dataset=spec["dataset"], split=lambda: "test")
    spec["evaluation"] |= {"suite": None, "root": None}
    spec["evaluation"]["datasets"] = [row.model_dump(mode="json") for row in rows]


def _rewrite(spec: dict[str, Any], local: dict[str, str]) -> None:
    spec["dataset"] = local[spec["dataset"]]
    for row in dataset_rows(spec):
        row["dataset"] = local[row["dataset"]]
