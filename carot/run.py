"""A whole run, from a spec to a checkpoint and a report. What the command line and a worker call.

Everything is written under one folder: `snapshot/` (to resume from), `checkpoint/`, `report.json`
and `logits/`. A run that finds a snapshot in its folder goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from carot.calibration.temperature import Calibrator, fit_temperature
from carot.checkpoints import (
    CLASSIFIER_NAME,
    ClassifierCard,
    load_calibrator,
    load_card,
    load_head,
    save_checkpoint,
)
from carot.classifier import pick_device
from carot.data.loader import TrainingBatches, Unreadable
from carot.data.resolve import (
    Opened,
    default_templates,
    evaluation_rows,
    open_dataset,
    open_evaluation,
)
from carot.data.source import ImageSource
from carot.errors import ClassMismatch, DataError, SpecError
from carot.evaluate import Outputs, run_model
from carot.events import (
    CheckpointSaved,
    EvaluationDone,
    PhaseStarted,
    Reporter,
    ReportSaved,
    Warning,
)
from carot.methods import build_method
from carot.models import ClipModel, load_model
from carot.prompts import Captions, caption_names, zero_shot_head
from carot.reports import DatasetReport, Report, build_report, measure
from carot.snapshots import fingerprint
from carot.specs import AnySpec, EvaluateSpec, EvaluationDataset, FinetuneSpec
from carot.trainer import FitResult, fit

SNAPSHOT_NAME = "snapshot"
CHECKPOINT_NAME = "checkpoint"
REPORT_NAME = "report.json"
LOGITS_NAME = "logits"


@dataclass(frozen=True)
class RunResult:
    """Where a finished run left its results; `checkpoint` is None for an evaluation."""

    report: Report
    report_path: Path
    checkpoint: Path | None
    fit: FitResult | None


@dataclass(frozen=True)
class Judge:
    """A model ready to be measured: its head, its card and, once fitted, its calibrator."""

    model: ClipModel
    head_CD: Tensor
    card: ClassifierCard
    calibrator: Calibrator | None


def never() -> bool:
    """The `should_stop` of a run that nobody stops."""
    return False


def execute(
    spec: AnySpec,
    folder: Path,
    reporter: Reporter,
    *,
    should_stop: Callable[[], bool] = never,
) -> RunResult:
    """Do what `spec` says and leave the results under `folder`.

    Raises:
        CarotError: the spec, the data, the model or the run is at fault; see `carot.errors`.
        Interrupted: `should_stop` said so; calling again with the same folder goes on.
    """
    if not isinstance(spec, FinetuneSpec | EvaluateSpec):
        raise NotImplementedError(spec.kind)
    folder.mkdir(parents=True, exist_ok=True)
    return _Run(spec, folder, reporter, should_stop).execute()


class _Run:
    def __init__(
        self,
        spec: FinetuneSpec | EvaluateSpec,
        folder: Path,
        reporter: Reporter,
        should_stop: Callable[[], bool],
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.reporter = reporter
        self.should_stop = should_stop

    def execute(self) -> RunResult:
        self.reporter.report(PhaseStarted(phase="preparing"))
        model = load_model(self.spec.model, pick_device())
        fitted: FitResult | None = None
        checkpoint: Path | None = None
        if isinstance(self.spec, FinetuneSpec):
            judge, rows, fitted = self._finetune(self.spec, model)
            judge = self._calibrate(judge)
            checkpoint = self._save_checkpoint(judge)
        else:
            judge = self._starting_point(self.spec, model)
            rows = self._open_rows(judge.card.classes)
            judge = judge if judge.calibrator is not None else self._calibrate(judge)
        report = self._report(judge, rows)
        path = self.folder / REPORT_NAME
        path.write_text(report.model_dump_json(indent=2), encoding="utf-8")
        self.reporter.report(ReportSaved(path=str(path)))
        return RunResult(report, path, checkpoint, fitted)

    def _finetune(
        self, spec: FinetuneSpec, model: ClipModel
    ) -> tuple[Judge, list[tuple[EvaluationDataset, Opened]], FitResult | None]:
        source = open_dataset(spec.dataset, "train")
        self._check_training_set(spec, source)
        # Opened before training: a data set that cannot be evaluated should not cost a run first.
        rows = self._open_rows(source.classes)
        captions = self._captions(model, source.classes)
        fitted: FitResult | None = None
        torch.manual_seed(spec.training.seed)
        batches = TrainingBatches(
            source,
            model.transform,
            model.image_size,
            batch_size=spec.training.batch_size,
            templates=len(captions.templates),
            crop_scale=spec.training.random_crop_scale,
            seed=spec.training.seed,
            unreadable=Unreadable(spec.dataset, source, self.reporter),
        )
        total = spec.training.epochs * batches.steps_per_epoch
        method = build_method(spec.method, model, captions, total, spec.training.seed)
        if method.trains:
            fitted = fit(
                model,
                method,
                batches,
                captions,
                spec.training,
                self.reporter,
                snapshot_folder=self.folder / SNAPSHOT_NAME,
                run=fingerprint(spec),
                should_stop=self.should_stop,
            )
        outcome = method.outcome()
        model, head_CD = model.with_module(outcome.module), outcome.head_CD
        return self._judge(model, captions, source.classes, spec.method.name, head_CD), rows, fitted

    def _starting_point(self, spec: EvaluateSpec, model: ClipModel) -> Judge:
        folder = Path(spec.model.folder) if spec.model.folder is not None else None
        classes = self._classes()
        if folder is None or not (folder / CLASSIFIER_NAME).exists():
            return self._judge(model, self._captions(model, classes), classes, "zero_shot", None)
        card = load_card(folder)
        if card.classes != classes:
            raise ClassMismatch(
                f"the checkpoint knows {len(card.classes)} classes ({', '.join(card.classes[:5])} "
                f"…), the data set has {len(classes)} ({', '.join(classes[:5])} …)",
                field="dataset",
            )
        return Judge(model, load_head(folder, card), card, load_calibrator(folder))

    def _judge(
        self,
        model: ClipModel,
        captions: Captions,
        classes: tuple[str, ...],
        method: str,
        trained_CD: Tensor | None,
    ) -> Judge:
        scale = float(model.logit_scale.detach().exp())
        head_CD = scale * zero_shot_head(model, captions) if trained_CD is None else trained_CD
        card = ClassifierCard(
            architecture=model.architecture,
            method=method,
            classes=classes,
            caption_names=captions.names,
            templates=captions.templates,
            logit_scale=scale,
            head="text" if trained_CD is None else "trained",
        )
        return Judge(model, head_CD, card, None)

    def _calibrate(self, judge: Judge) -> Judge:
        """Fit the temperature on the calibration split, which nothing else has seen."""
        source = open_dataset(self.spec.dataset, "calibration")
        if len(source) == 0:
            message = f"{self.spec.dataset} has no calibration split: confidences stay raw"
            self.reporter.report(Warning(code="no_calibration_split", message=message))
            return judge
        outputs = self._outputs(judge, source, "calibration")
        calibrator = fit_temperature(
            outputs.logits_NC,
            outputs.labels_N,
            logit_scale=judge.card.logit_scale,
            classes=judge.card.classes,
            split="calibration",
        )
        if calibrator.at_bound:
            message = (
                f"{calibrator.n} calibration images do not determine the temperature; "
                f"it was set to {calibrator.temperature:g}"
            )
            self.reporter.report(Warning(code="temperature_at_bound", message=message))
        return Judge(judge.model, judge.head_CD, judge.card, calibrator)

    def _save_checkpoint(self, judge: Judge) -> Path:
        self.reporter.report(PhaseStarted(phase="saving"))
        path = self.folder / CHECKPOINT_NAME
        save_checkpoint(path, judge.model, judge.head_CD, judge.card, judge.calibrator)
        self.reporter.report(CheckpointSaved(path=str(path)))
        return path

    def _report(self, judge: Judge, rows: list[tuple[EvaluationDataset, Opened]]) -> Report:
        self.reporter.report(PhaseStarted(phase="evaluating", total=len(rows)))
        measured: list[DatasetReport] = []
        for index, (row, opened) in enumerate(rows):
            outputs = self._outputs(judge, opened.source, row.name)
            outputs = replace(outputs, logits_NC=opened.label_space.project(outputs.logits_NC))
            self._keep_logits(index, outputs)
            measured.append(
                measure(
                    row,
                    outputs.logits_NC,
                    outputs.labels_N,
                    outputs.features_ND,
                    calibrator=judge.calibrator,
                    skipped=outputs.skipped,
                )
            )
            self.reporter.report(
                EvaluationDone(
                    dataset=row.name,
                    index=index,
                    total=len(rows),
                    metrics=measured[-1].headline(),
                )
            )
        return build_report(
            self.spec,
            measured,
            classes=judge.card.classes,
            method=judge.card.method,
            architecture=judge.card.architecture,
            calibrator=judge.calibrator,
        )

    def _keep_logits(self, index: int, outputs: Outputs) -> None:
        folder = self.folder / LOGITS_NAME
        folder.mkdir(exist_ok=True)
        np.savez(
            folder / f"{index}.npz",
            logits=outputs.logits_NC.numpy(),
            labels=outputs.labels_N.numpy(),
            keys=np.array(outputs.keys),
        )

    def _outputs(self, judge: Judge, source: ImageSource, name: str) -> Outputs:
        return run_model(
            judge.model,
            judge.head_CD,
            source,
            name=name,
            batch_size=self.spec.evaluation.batch_size,
            reporter=self.reporter,
            should_stop=self.should_stop,
        )

    def _captions(self, model: ClipModel, classes: tuple[str, ...]) -> Captions:
        prompts = self.spec.prompts
        unknown = sorted(set(prompts.class_names or {}) - set(classes))
        if unknown:
            raise SpecError(
                f"names for classes that the data set lacks: {', '.join(unknown[:10])}",
                field="prompts.class_names",
            )
        templates = prompts.templates or default_templates(self.spec.dataset, classes)
        return Captions(model, caption_names(classes, prompts), templates)

    def _classes(self) -> tuple[str, ...]:
        return open_dataset(self.spec.dataset, "test").classes

    def _open_rows(self, classes: tuple[str, ...]) -> list[tuple[EvaluationDataset, Opened]]:
        rows = evaluation_rows(self.spec.evaluation, self.spec.dataset)
        return [(row, open_evaluation(row, classes)) for row in rows]

    def _check_training_set(self, spec: FinetuneSpec, source: ImageSource) -> None:
        if len(source) == 0:
            raise DataError(f"{spec.dataset} has no training images", field="dataset")
        absent = sorted(set(range(len(source.classes))) - set(source.labels.tolist()))
        if absent:
            names = ", ".join(source.classes[i] for i in absent[:10])
            raise DataError(f"{spec.dataset}: no training image of {names}", field="dataset")
        if spec.training.batch_size > len(source) and spec.method.name != "zero_shot":
            raise SpecError(
                f"training.batch_size is {spec.training.batch_size}, "
                f"but the training split has {len(source)} images",
                field="training.batch_size",
            )
