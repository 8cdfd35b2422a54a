"""The training runs of the fashion benchmark: each is done once and kept, so that it can resume.

A run is named by row, epochs, peak rate and seed. It trains with the product's own loop. What is
kept are the logits of every set in half precision, so that any figure can be made later, and, of
runs that others are merged from, the weights. A tuning run keeps those of validation alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.fashion.suite import (
    CALIBRATION,
    ID,
    OOD,
    START,
    VALIDATION,
    Suite,
    features_of,
    suite,
)
from carot.data.loader import TrainingBatches, Unreadable
from carot.distributed import ALONE
from carot.events import Silent
from carot.models.adapters import attach_adapters, merged
from carot.models.checkpoints import unshared
from carot.models.clip import ClipModel, load_model
from carot.specs import TRAINED_TOWERS, FinetuneSpec, TrainingSpec
from carot.specs import Method as MethodSpec
from carot.specs.base import FASHION
from carot.training.identity import RunIdentity
from carot.training.methods import averaged, build_method
from carot.training.normalisation import prepare_normalisation
from carot.training.trainer import fit

BATCH_SIZE = 64
WARMUP = 0.05
METHOD: TypeAdapter[MethodSpec] = TypeAdapter(MethodSpec)
HEAD = "head"


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        row: of the table that it belongs to.
        spec: the method's document under `method`, with what else the row says of a job.
        tuning: whether it is only looked at on in-distribution validation.
        limit: most pictures of a set; None for all.
        keeps_weights: whether other rows are merged from it.
    """

    row: str
    spec: dict[str, Any] = field(hash=False)
    epochs: int
    learning_rate: float
    seed: int
    tuning: bool = False
    limit: int | None = None
    keeps_weights: bool = False

    @property
    def key(self) -> str:
        """The name of its files."""
        kind = "tuning" if self.tuning else "run"
        return f"{self.row}-{kind}-e{self.epochs}-lr{self.learning_rate:g}-s{self.seed}"

    def done(self, folder: Path) -> dict[str, Any] | None:
        """What is known of it, if it was done before with the same spec."""
        path = folder / f"{self.key}.json"
        if not path.exists():
            return None
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = kept["spec"] == self.job().model_dump(mode="json", exclude_defaults=True)
        return kept if same and kept["limit"] == self.limit else None

    def logits(self, folder: Path) -> dict[str, Tensor]:
        """The logits (N, C) of each set, float32."""
        return kept_logits(folder / self.key)

    def weights(self, folder: Path) -> dict[str, Tensor]:
        """The final weights, with the head under `head`."""
        return load_file(folder / f"{self.key}.safetensors")

    def job(self) -> FinetuneSpec:
        """The job that it is."""
        training = self.training().model_dump(mode="json")
        return FinetuneSpec.model_validate(
            {"model": START, "dataset": FASHION, "training": training, **self.spec}
        )

    def training(self) -> TrainingSpec:
        """How long and how fast."""
        return TrainingSpec(
            epochs=self.epochs,
            batch_size=BATCH_SIZE if self.limit is None else self.limit // 2,
            learning_rate=self.learning_rate,
            warmup_fraction=WARMUP,
            snapshot_every=10**9,
            seed=self.seed,
        )

    def execute(self, folder: Path) -> dict[str, Any]:
        """Train and keep what there is to keep, unless that is done."""
        kept = self.done(folder)
        if kept is not None:
            return kept
        started = time.process_time()
        sets = suite(self.limit)
        scratch = folder / f"{self.key}.scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        model, head_CD = self._train(sets, scratch)
        shutil.rmtree(scratch, ignore_errors=True)
        trained = time.process_time() - started
        if self.keeps_weights and not self.tuning:
            weights = {**model.module.state_dict(), HEAD: head_CD}
            save_file(unshared(weights), folder / f"{self.key}.safetensors")
        names = (VALIDATION,) if self.tuning else (VALIDATION, CALIBRATION, ID, *OOD)
        document = {
            "spec": self.job().model_dump(mode="json", exclude_defaults=True),
            "limit": self.limit,
            "training_cpu_seconds": trained,
            "sha256": keep_logits(sets, model, head_CD, folder / self.key, names),
        }
        temporary = folder / f"{self.key}.writing"
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.replace(folder / f"{self.key}.json")
        return document

    def _train(self, sets: Suite, scratch: Path) -> tuple[ClipModel, Tensor]:
        job, training = self.job(), self.training()
        torch.manual_seed(self.seed)
        model = load_model(START)
        prepare_normalisation(model, ALONE, training, adapted=job.adapters is not None)
        if job.adapters is not None:
            attach_adapters(model, job.adapters, TRAINED_TOWERS[job.method.name], self.seed)
        batches = TrainingBatches(
            sets.training,
            model.transform,
            model.resizing,
            batch_size=training.batch_size,
            templates=len(sets.captions.templates),
            crop_scale=training.random_crop_scale,
            seed=self.seed,
            unreadable=Unreadable("fashion", sets.training, Silent()),
        )
        total = self.epochs * batches.steps_per_epoch
        method = build_method(job.method, model, sets.captions, total, self.seed)
        method = averaged(method, job.selection.average)
        fit(
            model,
            method,
            batches,
            sets.captions,
            training,
            Silent(),
            snapshot_folder=scratch,
            run=RunIdentity.of(job, batches.source),
            should_stop=lambda: False,
        )
        outcome = method.outcome()
        made = model.with_module(merged(outcome.module))
        head_CD = sets.text_head(made) if outcome.head_CD is None else outcome.head_CD
        return made, head_CD


def kept_logits(path: Path) -> dict[str, Tensor]:
    """What `keep_logits` wrote, in float32."""
    found = load_file(path.with_name(f"{path.name}.logits.safetensors"))
    return {name: values.float() for name, values in found.items()}


def keep_logits(
    sets: Suite, model: ClipModel, head_CD: Tensor, path: Path, names: tuple[str, ...]
) -> str:
    """Write the logits of some sets beside `path`; their file's SHA-256.

    Each row is moved so that its largest logit is 0: half precision is finest there.
    """
    logits = {}
    for name in names:
        logits_NC = features_of(model, sets.sets[name], head_CD)[1]
        logits[name] = (logits_NC - logits_NC.amax(dim=1, keepdim=True)).half()
    file = path.with_name(f"{path.name}.logits.safetensors")
    save_file(logits, file)
    return hashlib.sha256(file.read_bytes()).hexdigest()
