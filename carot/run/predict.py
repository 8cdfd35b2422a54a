"""Score every image of a data set into a Parquet file, at constant memory.

There is one row for each image, in the order of the data set, whether it can be read or not: whose
images they are joins the rows to their own by key, and one that is silently left out would be
missed late or never. So a few unreadable images end no such run, unlike one that measures, where
they would falsify a figure; it fails where not a single image gets an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from carot.data.depths import settle_depth
from carot.data.resolve import open_prediction
from carot.errors import DataError, Interrupted, SpecError
from carot.events import PhaseStarted, PredictionsSaved, Reporter
from carot.models.classifier import Classifier
from carot.run.context import Noting
from carot.run.evaluated import is_checkpoint
from carot.run.prediction_file import written
from carot.run.prediction_rows import schema_of, scored_batches
from carot.run.scoring import METADATA, Scoring
from carot.run.tally import PredictionSummary, Tally
from carot.run.transductive import Transduction
from carot.specs import PredictSpec

PREDICTIONS_NAME = "predictions.parquet"
SUMMARY_NAME = "predictions.json"


@dataclass(frozen=True)
class Predicted:
    """Where a finished run left its predictions."""

    path: Path
    summary: PredictionSummary


def predict(
    spec: PredictSpec, folder: Path, reporter: Reporter, should_stop: Callable[[], bool]
) -> Predicted:
    """Write `predictions.parquet` and its summary; a run that was stopped starts again.

    Raises:
        SpecError: the model is no checkpoint.
        CalibrationError: its calibration split, or the labelled images beside, do not allow what
            is asked for.
        DataError: the data set cannot be used, or not one of its images gets an answer.
        NoSpace: the disk is full.
        Interrupted: `should_stop` said so.
    """
    reporter.report(PhaseStarted(phase="preparing"))
    if not is_checkpoint(spec.model):
        message = "not a fine-tuned checkpoint: it has no classes and no head"
        raise SpecError(message, field="model")
    model_folder = Path(spec.model.folder or "")
    sources = open_prediction(spec)
    noting = Noting(reporter)
    for _, source in sources:
        noting.opened(source)
    classifier = Classifier.load(model_folder)
    scoring = Scoring(classifier, spec, model_folder.name)
    total = sum(len(source) for _, source in sources)
    tally = Tally(total, reporter)
    path = folder / PREDICTIONS_NAME
    schema, beside = schema_of(scoring), None
    if spec.transductive is not None:
        beside = Transduction(
            spec, spec.transductive, classifier, schema, total, reporter, should_stop
        )
    reporter.report(PhaseStarted(phase="predicting", total=total))
    with written(path, schema if beside is None else beside.schema) as out:
        keep = out.write if beside is None else beside.take
        for split, source in sources:
            settle_depth(source, classifier.card.depth, spec.dataset, reporter)
            for batch in scored_batches(classifier, scoring, source, spec.batch_size, split):
                if should_stop():
                    raise Interrupted(f"stopped behind {tally.images} of {total} images")
                tally.take(batch)
                keep(batch)
        if tally.answers == 0:
            message = f"{spec.dataset}: no image can be answered, the first for: {tally.reason}"
            raise DataError(message, field="dataset")
        for rows in () if beside is None else beside.finished():
            out.write(rows)
        summary = tally.summary()
        out.close({f"{METADATA.decode()}.summary": summary.model_dump_json()})
    text = summary.model_dump_json(indent=2)
    (folder / SUMMARY_NAME).write_text(text, encoding="utf-8")
    reporter.report(PredictionsSaved(path=str(path)))
    return Predicted(path, summary)
