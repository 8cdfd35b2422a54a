"""What every kind of run does: opens data, calibrates, measures, and writes the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from carot.data.depths import settle_depth
from carot.data.resolve import copies_in, open_dataset
from carot.data.source import ImageSource
from carot.data.unseen import known_classes, without_unseen
from carot.distributed import ALONE, Ranks
from carot.errors import SpecError
from carot.evaluation.evaluate import Outputs, run_model
from carot.evaluation.improvement import improvement_warnings
from carot.evaluation.measuring import calibrated_outputs, measure, with_shift
from carot.evaluation.reports import Candidate, DatasetReport, Report, build_report
from carot.evaluation.rows import Opened, evaluation_rows, open_domains, open_evaluation
from carot.evaluation.undercovered import undercovered
from carot.evaluation.unseen_rows import open_unseen
from carot.evaluation.worse import in_distribution, worse_than_raw
from carot.events import (
    AnyEvent,
    CheckpointSaved,
    EvaluationDone,
    PhaseStarted,
    Reporter,
    ReportSaved,
    Subject,
    Warning,
)
from carot.models.checkpoints import save_checkpoint
from carot.models.families import family_of
from carot.models.fresh import check_fresh
from carot.run.evaluated import EvaluatedModel, brought
from carot.specs import EvaluationDataset, FinetuneSpec, MeasuringSpec
from carot.training.trainer import FitResult
from carot.warnings import CodedWarning, first_of_each

CHECKPOINT_NAME = "checkpoint"
REPORT_NAME = "report.json"
LOGITS_NAME = "logits"

Source = TypeVar("Source", bound=ImageSource)
Rows = list[tuple[EvaluationDataset, Opened]]


@dataclass(frozen=True)
class RunResult:
    """Where a finished run left its results; `checkpoint` is None where none was made."""

    report: Report
    report_path: Path
    checkpoint: Path | None
    fit: FitResult | None


@dataclass(frozen=True)
class Finished:
    """What a kind of run has to say at its end.

    Attributes:
        evaluated: the classifier that the report is about.
        measured: its rows.
        before: the same rows of the model that it started from.
        checkpoint: where it was saved, if the run made it.
    """

    evaluated: EvaluatedModel
    measured: Sequence[DatasetReport]
    checkpoint: Path | None = None
    fit: FitResult | None = None
    rule: str | None = None
    candidates: Sequence[Candidate] = ()
    before: Sequence[DatasetReport] = ()


class Noting:
    """Passes every event on, and notes the warnings among them for the report."""

    def __init__(self, reporter: Reporter) -> None:
        self.warnings: list[CodedWarning] = []
        self._reporter = reporter

    def report(self, event: AnyEvent) -> None:
        """Take note of a warning; pass it on, whatever it is."""
        if isinstance(event, Warning):
            self.warnings.append(event.coded())
        self._reporter.report(event)

    def opened(self, source: Source) -> Source:
        """`source`, after what it says of itself is reported, each thing once in a run."""
        for each in source.warnings:
            if each not in self.warnings:
                self.report(Warning.of(each))
        return source


class Context:
    """A run's spec, its folder, who listens to it, who may stop it and who shares its training."""

    def __init__(
        self,
        spec: MeasuringSpec,
        folder: Path,
        reporter: Reporter,
        should_stop: Callable[[], bool],
        ranks: Ranks = ALONE,
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.reporter = Noting(reporter)
        self.should_stop = should_stop
        self.ranks = ranks

    def check_copies(self) -> None:
        """Tell of images that are in two splits of the run's data set, or refuse them.

        Raises:
            DataError: there are some, and the spec refuses them.
        """
        copies = copies_in(self.spec.dataset)
        if isinstance(self.spec, FinetuneSpec) and self.spec.copies == "refuse":
            copies.refuse(self.spec.dataset, "dataset")
        for warning in copies.warnings(self.spec.dataset):
            self.reporter.report(Warning.of(warning))

    def classes(self) -> tuple[str, ...]:
        """The class names of the run's data set, without those that are to stay unseen.

        Raises:
            SpecError: `unseen` names others, or leaves fewer than two.
        """
        return known_classes(open_dataset(self.spec.dataset, "test").classes, self.spec.unseen)

    def open_rows(self, classes: tuple[str, ...]) -> Rows:
        """The rows of the report to be, opened; with them the domains, so that both are there."""
        unseen = self.spec.unseen
        domains = open_domains(self.spec.calibration, classes, unseen)
        rows = evaluation_rows(self.spec.evaluation, self.spec.dataset)
        opened = [(row, open_evaluation(row, classes, unseen=unseen)) for row in rows]
        for _, each in (*domains, *opened):
            self.reporter.opened(each.source)
        for _, source in open_unseen(self.spec, classes):
            self.reporter.opened(source)
        return opened

    def open_known(self, split: str) -> ImageSource:
        """A split of the run's data set without unseen classes; it may be empty.

        Raises:
            SpecError: `unseen` names others, or leaves fewer than two.
        """
        source = open_dataset(self.spec.dataset, split)
        known_classes(source.classes, self.spec.unseen)
        return self.reporter.opened(without_unseen(source, self.spec.unseen))

    def open_split(self, split: str, field: str) -> ImageSource:
        """A split of the run's data set to choose by.

        Raises:
            SpecError: it has no images.
        """
        source = self.open_known(split)
        if len(source) == 0:
            raise SpecError(
                f"{self.spec.dataset} has no images in {split!r} to choose by", field=field
            )
        return source

    def outputs(self, evaluated: EvaluatedModel, source: ImageSource, name: str) -> Outputs:
        """Logits, labels and features of every image of `source`."""
        settle_depth(source, evaluated.card.depth, name, self.reporter)
        return run_model(
            evaluated.model,
            evaluated.head_CD,
            source,
            name=name,
            batch_size=self.spec.evaluation.batch_size,
            reporter=self.reporter,
            should_stop=self.should_stop,
        )

    def measure(
        self, evaluated: EvaluatedModel, rows: Rows, *, keep: bool = True, of: Subject = "model"
    ) -> list[DatasetReport]:
        """Every row of a report; with `keep` the logits of a run's own model stay in its folder."""
        self.reporter.report(PhaseStarted(phase="evaluating", total=len(rows)))
        measured: list[DatasetReport] = []
        distances: list[Tensor] = []
        score = None if evaluated.calibration is None else evaluated.calibration.shift_score
        for index, (row, opened) in enumerate(rows):
            outputs = self.outputs(evaluated, opened.source, row.name)
            if keep and of == "model":
                served_NK = calibrated_outputs(
                    row, outputs.logits_NC, evaluated.calibration, opened.label_space
                )
                self._keep_logits(index, outputs, opened, served_NK)
            found = measure(
                row,
                outputs.logits_NC,
                outputs.labels_N,
                outputs.features_ND,
                calibration=evaluated.calibration,
                skipped=outputs.skipped,
                space=opened.label_space,
                asked=self.spec.calibration,
            )
            # Of models that are compared with, single classes would make a report of megabytes.
            measured.append(found if keep and of == "model" else found.without_classes())
            if score is not None:
                distances.append(score.distances(outputs.features_ND))
            self.reporter.report(
                EvaluationDone(
                    dataset=row.name,
                    index=index,
                    total=len(rows),
                    of=of,
                    metrics=measured[-1].headline(),
                )
            )
        return measured if score is None else with_shift(measured, distances, score)

    def save(self, evaluated: EvaluatedModel) -> Path:
        """Write the checkpoint, and see to it that others can load it.

        Raises:
            CheckpointError: they cannot. Asked only where a model has files beyond open_clip's two.
        """
        self.reporter.report(PhaseStarted(phase="saving"))
        path = self.folder / CHECKPOINT_NAME
        save_checkpoint(
            path,
            evaluated.model,
            evaluated.head_CD,
            evaluated.card,
            evaluated.calibration,
            evaluated.adapters,
        )
        if family_of(evaluated.model.model_cfg).needs_transformers:
            check_fresh(path)
        self.reporter.report(CheckpointSaved(path=str(path)))
        return path

    def write(self, finished: Finished) -> RunResult:
        """Write the report."""
        evaluated = finished.evaluated
        self._warn_of_confidences(finished)
        for warning in improvement_warnings(finished.measured, finished.before):
            self.reporter.report(Warning.of(warning))
        report = build_report(
            self.spec,
            finished.measured,
            classes=evaluated.card.classes,
            method=evaluated.card.method,
            architecture=evaluated.card.architecture,
            calibration=evaluated.calibration,
            summary=evaluated.summary or brought(evaluated),
            rule=finished.rule,
            candidates=finished.candidates,
            before=finished.before,
            unseen=evaluated.unseen,
            warnings=first_of_each(self.reporter.warnings),
        )
        path = self.folder / REPORT_NAME
        path.write_text(report.model_dump_json(indent=2), encoding="utf-8")
        self.reporter.report(ReportSaved(path=str(path)))
        return RunResult(report, path, finished.checkpoint, finished.fit)

    def _warn_of_confidences(self, finished: Finished) -> None:
        """Say so where the calibrator looks worse than none, or sets hold a class too rarely."""
        own, calibration = in_distribution(finished.measured), finished.evaluated.calibration
        missed = None if own is None else undercovered(own)
        if missed is not None:
            self.reporter.report(Warning.of(missed))
        why = None if own is None else worse_than_raw(own)
        if why is not None and calibration is not None:
            kind = calibration.calibrator.kind
            message = f"{kind}: {why}"
            self.reporter.report(Warning(code="calibrator_hurts", message=message, names=(kind,)))

    def _keep_logits(
        self, index: int, outputs: Outputs, opened: Opened, served_NK: Tensor | None
    ) -> None:
        folder = self.folder / LOGITS_NAME
        folder.mkdir(exist_ok=True)
        arrays: dict[str, Any] = {
            "logits": opened.label_space.project(outputs.logits_NC).numpy(),
            "labels": outputs.labels_N.numpy(),
            "keys": np.array(outputs.keys),
            "classes": np.array(opened.label_space.classes),
        }
        if served_NK is not None:
            arrays["calibrated"] = served_NK.float().numpy()
        np.savez(folder / f"{index}.npz", **arrays)
