"""Whole training runs on a tiny model and a few drawn images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from carot.data.formats.folder import open_folder
from carot.data.loader import TrainingBatches, Unreadable
from carot.distributed import ALONE, Ranks
from carot.events import AnyEvent, StepDone
from carot.models.adapters import attach_adapters
from carot.models.clip import ClipModel
from carot.models.prompts import Captions
from carot.specs import (
    TRAINED_TOWERS,
    AverageSpec,
    CarotMethod,
    FinetuneSpec,
    LoraSpec,
    ModelSpec,
    SelectionSpec,
    TeacherSpec,
    TrainingSpec,
)
from carot.training.identity import RunIdentity
from carot.training.methods import Method, averaged, build_method
from carot.training.normalisation import prepare_normalisation
from carot.training.trainer import FitResult, Watcher, fit
from tests.carot.tiny import tiny_model, write_images

NO_AVERAGE = AverageSpec()
CAROT = CarotMethod(teacher=TeacherSpec(update_every=2))


class Run:
    """A tiny training run that can be stopped behind any step and taken up again."""

    def __init__(
        self,
        root: Path,
        method: Any,
        ranks: Ranks = ALONE,
        model: ClipModel | None = None,
        average: AverageSpec = NO_AVERAGE,
        adapters: LoraSpec | None = None,
        **training: Any,
    ) -> None:
        if not (root / "train").exists():
            write_images(root / "train", each=10)
        defaults = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-3, "snapshot_every": 100}
        self.spec = TrainingSpec(**{**defaults, **training})
        self.method_spec = method
        self.adapters = adapters
        self.root = root
        self.events: list[AnyEvent] = []
        self.model: ClipModel = model or tiny_model()
        source = open_folder(root, "train")
        self.captions = Captions(self.model, source.classes, ("a {} photo", "{}", "it is {}."))
        self.batches = TrainingBatches(
            source,
            self.model.transform,
            self.model.resizing,
            batch_size=self.spec.batch_size,
            templates=3,
            crop_scale=0.8,
            seed=self.spec.seed,
            unreadable=Unreadable("images", source, self),
            ranks=ranks,
        )
        prepare_normalisation(self.model, ranks, self.spec, adapted=adapters is not None)
        if adapters is not None:
            attach_adapters(self.model, adapters, TRAINED_TOWERS[method.name], self.spec.seed)
        total = self.spec.epochs * self.batches.steps_per_epoch
        built = build_method(method, self.model, self.captions, total)
        self.average_spec = average
        self.method: Method = averaged(built, average)

    def report(self, event: AnyEvent) -> None:
        self.events.append(event)

    def identity(self, run: str) -> RunIdentity:
        """That of a run of this method on these images, which are called `run`."""
        model = ModelSpec(architecture="carot-mini")
        spec = FinetuneSpec(
            model=model,
            dataset=f"folder:{run}",
            method=self.method_spec,
            adapters=self.adapters,
            training=self.spec,
            selection=SelectionSpec(average=self.average_spec),
        )
        return RunIdentity.of(spec, self.batches.source)

    def fit(
        self, stop_after: int | None = None, run: str = "run", watcher: Watcher | None = None
    ) -> FitResult:
        torch.manual_seed(self.spec.seed)

        def should_stop() -> bool:
            return stop_after is not None and len(self.steps()) >= stop_after

        return fit(
            self.model,
            self.method,
            self.batches,
            self.captions,
            self.spec,
            self,
            snapshot_folder=self.root / "snapshot",
            run=self.identity(run),
            should_stop=should_stop,
            watcher=watcher,
        )

    def weights(self) -> dict[str, torch.Tensor]:
        return {
            f"{name}.{key}": value.clone()
            for name, module in self.method.modules().items()
            for key, value in module.state_dict().items()
        }

    def steps(self) -> list[StepDone]:
        return [e for e in self.events if isinstance(e, StepDone)]


def assert_same_gradient(one: Any, other: Any, name: str | None = None) -> None:
    """But for rounding: its sums come in another order, which differs between processors."""
    scale = float(one.abs().max())
    torch.testing.assert_close(one, other, atol=max(1e-6, 2e-4 * scale), rtol=1e-4, msg=name)
