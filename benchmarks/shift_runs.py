"""The training runs of `benchmarks/shift.py`: each is done once and kept, so that it can resume.

A run is named by method, epochs, learning rate and seed. It trains with the product's own loop, and
is measured where a share of its steps is done (`MARKS`); a tuning run only on validation, and only
at its end.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.shift_suite import START, Suite, suite
from carot.data.digits import CLASSES, TEMPLATES, handwritten_digits
from carot.data.loader import TrainingBatches, Unreadable
from carot.data.resolve import DIGITS
from carot.data.source import SubsetSource
from carot.events import Silent
from carot.models.checkpoints import unshared
from carot.models.clip import ClipModel, load_model
from carot.models.prompts import Captions
from carot.specs import AverageSpec, FinetuneSpec, SelectionSpec, TrainingSpec
from carot.specs import Method as MethodSpec
from carot.training.identity import RunIdentity
from carot.training.methods import Method, averaged, build_method
from carot.training.trainer import fit

BATCH_SIZE = 128
WARMUP = 0.05
MARKS = (0.5, 1.0)
FULLY_MEASURED_SEEDS = (1, 2)
"""Runs that are measured at every mark; the others only at the end, to save time."""
METHOD: TypeAdapter[MethodSpec] = TypeAdapter(MethodSpec)
HEAD = "head"


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: the row of the table that it belongs to.
        method: the method's spec as a document.
        tuning: whether it is only looked at on in-distribution validation.
        images: most training images; None for all.
        average: of the weights along the run (`selection.average`); None for the last weights.
    """

    name: str
    method: dict[str, Any]
    epochs: int
    learning_rate: float
    seed: int
    tuning: bool = False
    images: int | None = None
    average: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """The name of its files."""
        kind = "tuning" if self.tuning else "run"
        return f"{self.name}-{kind}-e{self.epochs}-lr{self.learning_rate:g}-s{self.seed}"

    def done(self, folder: Path) -> dict[str, Any] | None:
        """Its result from before, if it was of the same method."""
        path = folder / f"{self.key}.json"
        if not path.exists():
            return None
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept if kept["spec"] == self._spec() else None

    def execute(self, folder: Path) -> dict[str, Any]:
        """Train and measure, unless that is done; the result is also left in `folder`."""
        kept = self.done(folder)
        if kept is not None:
            return kept
        scratch = folder / f"{self.key}.scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        found = self._train(suite(self.images), scratch, folder)
        shutil.rmtree(scratch, ignore_errors=True)
        document = {"spec": self._spec(), **found}
        path = folder / f"{self.key}.json"
        temporary = path.with_suffix(".writing")
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.replace(path)
        return document

    def weights(self, folder: Path) -> dict[str, Tensor]:
        """The final weights, with the head under `head`."""
        return load_file(folder / f"{self.key}.safetensors")

    def _spec(self) -> dict[str, Any]:
        method = METHOD.validate_python(self.method).model_dump(mode="json")
        average = {} if self.average is None else {"average": self.average}
        return {"method": method, **average, **self._training().model_dump(mode="json")}

    def _training(self) -> TrainingSpec:
        return TrainingSpec(
            epochs=self.epochs,
            batch_size=BATCH_SIZE if self.images is None else self.images // 2,
            learning_rate=self.learning_rate,
            warmup_fraction=WARMUP,
            snapshot_every=10**9,
            seed=self.seed,
        )

    def _train(self, sets: Suite, scratch: Path, folder: Path) -> dict[str, Any]:
        training = self._training()
        torch.manual_seed(self.seed)
        model = load_model(START)
        captions = Captions(model, CLASSES, TEMPLATES)
        source = handwritten_digits("train")
        batches = TrainingBatches(
            source if self.images is None else SubsetSource(source, range(self.images)),
            model.transform,
            model.resizing,
            batch_size=training.batch_size,
            templates=len(TEMPLATES),
            crop_scale=training.random_crop_scale,
            seed=self.seed,
            unreadable=Unreadable("digits", source, Silent()),
        )
        total = self.epochs * batches.steps_per_epoch
        spec = METHOD.validate_python(self.method)
        selection = SelectionSpec(average=AverageSpec.model_validate(self.average or {}))
        method = averaged(build_method(spec, model, captions, total, self.seed), selection.average)
        whole = FinetuneSpec(
            model=START, dataset=DIGITS, method=spec, training=training, selection=selection
        )
        fully = not self.tuning and self.seed in FULLY_MEASURED_SEEDS
        marks = MARKS if fully else (1.0,)
        watcher = Marks(method, sets, marks, tuning=self.tuning)
        done = fit(
            model,
            method,
            batches,
            captions,
            training,
            Silent(),
            snapshot_folder=scratch,
            run=RunIdentity.of(whole, batches.source),
            should_stop=lambda: False,
            watcher=watcher,
        )
        if not self.tuning:
            weights = {**method.outcome().module.state_dict(), HEAD: watcher.head()}
            save_file(unshared(weights), folder / f"{self.key}.safetensors")
        return {"seconds": done.seconds, "checkpoints": watcher.found}


class Marks:
    """Measures a run at some shares of its steps."""

    def __init__(
        self, method: Method, sets: Suite, marks: tuple[float, ...], *, tuning: bool
    ) -> None:
        self.method = method
        self.sets = sets
        self.marks = marks
        self.tuning = tuning
        self.found: list[dict[str, Any]] = []

    def modules(self) -> dict[str, nn.Module]:
        return {}

    def after_step(self, done: int, total: int) -> None:
        """Measure where a mark is reached."""
        if done not in {round(mark * total) for mark in self.marks}:
            return
        model = self._model()
        if self.tuning:
            found: dict[str, Any] = {"validation": vars(self.sets.evaluated(model, self.head()))}
        else:
            found = self.sets.measure(model, self.head())
        self.found.append({"step": done, "share": done / total, **found})
        self.method.model.module.train()

    def head(self) -> Tensor:
        """The head as it is now, shape (C, D)."""
        trained_CD = self.method.outcome().head_CD
        return self.sets.text_head(self._model()) if trained_CD is None else trained_CD

    def _model(self) -> ClipModel:
        return self.method.model.with_module(self.method.outcome().module)
