"""Score every image of a data set into a Parquet file, at constant memory.

There is one row for each image, in the order of the data set, whether it can be read or not: whose
images they are joins the rows to their own by key, and one that is silently left out would be
missed late or never. So a few unreadable images end no such run, unlike one that measures, where
they would falsify a figure; it fails where not a single image gets an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from carot.aside import NO_SPACE
from carot.calibration.intervals import Interval, wilson_interval
from carot.calibration.numbers import Numbers
from carot.classifier import Classifier
from carot.data.loader import MAX_LISTED, batches_as_listed
from carot.data.resolve import open_prediction
from carot.data.source import ImageSource
from carot.errors import DataError, Interrupted, NoSpace, SpecError, UnreadableImage
from carot.events import ImagesScored, PhaseStarted, PredictionsSaved, Reporter, Warning
from carot.run.judge import is_checkpoint
from carot.run.scoring import METADATA, Scoring
from carot.specs import PredictSpec

PREDICTIONS_NAME = "predictions.parquet"
SUMMARY_NAME = "predictions.json"
GROUP_ROWS = 10_000
GROUP_BYTES = 64 << 20
ABOUT_IMAGES = [
    ("key", pa.string()),
    ("split", pa.string()),
    ("label", pa.string()),
    ("label_index", pa.int32()),
    ("correct", pa.bool_()),
]


class PredictionSummary(Numbers):
    """What the file of predictions says on the whole."""

    images: int
    errors: int
    """Images that could not be read, or for which the model gave no finite numbers."""
    labelled: int
    """Answered images whose label is one of the checkpoint's classes."""
    right: int
    accuracy: float | None
    accuracy_interval: Interval | None
    mean_confidence: float
    abstained: int
    accepted_accuracy: float | None
    """Of the labelled images that were not abstained from."""


@dataclass(frozen=True)
class Predicted:
    """Where a finished run left its predictions."""

    path: Path
    summary: PredictionSummary


def predict(
    spec: PredictSpec, folder: Path, reporter: Reporter, should_stop: Callable[[], bool]
) -> Predicted:
    """Write `predictions.parquet` and its summary; a run that was stopped begins anew.

    Raises:
        SpecError: the model is no checkpoint.
        CalibrationError: its calibration split does not allow what is asked for.
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
    classifier = Classifier.load(model_folder)
    scoring = Scoring(classifier, spec, model_folder.name)
    total = sum(len(source) for _, source in sources)
    reporter.report(PhaseStarted(phase="predicting", total=total))
    tally = _Tally(total, reporter)
    path = folder / PREDICTIONS_NAME
    with _written(path, _schema(scoring)) as out:
        for split, source in sources:
            for batch in _batches(classifier, scoring, source, spec.batch_size, split):
                if should_stop():
                    raise Interrupted(f"stopped behind {tally.images} of {total} images")
                tally.take(batch)
                out.write(batch)
        if tally.answers == 0:
            message = f"{spec.dataset}: no image can be answered, the first for: {tally.reason}"
            raise DataError(message, field="dataset")
        summary = tally.summary()
        out.close({f"{METADATA.decode()}.summary": summary.model_dump_json()})
    text = summary.model_dump_json(indent=2)
    (folder / SUMMARY_NAME).write_text(text, encoding="utf-8")
    reporter.report(PredictionsSaved(path=str(path)))
    return Predicted(path, summary)


def _batches(
    classifier: Classifier,
    scoring: Scoring,
    source: ImageSource,
    batch_size: int,
    split: str | None,
) -> Iterator[pa.Table]:
    """Rows of the file, in the order of the source."""
    labels = _Labels(source, classifier.classes)
    start = 0
    for batch in batches_as_listed(source, classifier.preprocess, batch_size):
        readable = [each for each in batch if not isinstance(each, UnreadableImage)]
        images_NCHW = torch.stack(readable) if readable else None
        found = iter(range(len(readable)))
        places = [None if isinstance(each, UnreadableImage) else next(found) for each in batch]
        indices = range(start, start + len(batch))
        start += len(batch)
        if images_NCHW is None:
            answers = scoring.schema.empty_table()
        else:
            answers = scoring.rows(*classifier.outputs_of(images_NCHW))
        answers = answers.take(pa.array(places, pa.int64()))
        guesses = answers.column("prediction_index").to_pylist()
        unanswered = answers.column("error").to_pylist()
        errors = [
            each.reason if isinstance(each, UnreadableImage) else reason
            for each, reason in zip(batch, unanswered, strict=True)
        ]
        answers = answers.set_column(0, "error", pa.array(errors, pa.string()))
        about = [
            [source.keys[i] for i in indices],
            [split] * len(batch),
            [labels.name(i) for i in indices],
            [labels.index(i) for i in indices],
            [labels.is_right(i, guess) for i, guess in zip(indices, guesses, strict=True)],
        ]
        arrays = [pa.array(c, kind) for c, (_, kind) in zip(about, ABOUT_IMAGES, strict=True)]
        yield pa.Table.from_arrays([*arrays, *answers.columns], schema=_schema(scoring))


def _schema(scoring: Scoring) -> pa.Schema:
    return pa.schema([*ABOUT_IMAGES, *scoring.schema], metadata=scoring.schema.metadata)


class _Labels:
    """What is known of the images' classes, in words and in the classifier's."""

    def __init__(self, source: ImageSource, classes: tuple[str, ...]) -> None:
        self._source = source
        known = {name: i for i, name in enumerate(classes)}
        groups = source.members or [(name,) for name in source.classes]
        self._members = [{known[name] for name in group if name in known} for group in groups]

    def name(self, image: int) -> str | None:
        label = int(self._source.labels[image])
        return self._source.classes[label] if label >= 0 else None

    def index(self, image: int) -> int | None:
        """Among the classifier's classes; None where it has none or several of this one."""
        members = self._of(image)
        return next(iter(members)) if len(members) == 1 else None

    def is_right(self, image: int, guess: int | None) -> bool | None:
        """None where nobody can know."""
        members = self._of(image)
        return guess in members if members and guess is not None else None

    def _of(self, image: int) -> set[int]:
        label = int(self._source.labels[image])
        return self._members[label] if label >= 0 else set()


@dataclass
class _Tally:
    """Sums over what was written, told to whoever listens."""

    total: int
    reporter: Reporter
    images: int = 0
    errors: int = 0
    reason: str = ""
    answers: int = 0
    labelled: int = 0
    right: int = 0
    abstained: int = 0
    kept: int = 0
    kept_right: int = 0
    confidence: float = 0.0

    def take(self, rows: pa.Table) -> None:
        names = ("key", "error", "correct", "confidence", "abstain")
        columns = (rows.column(name).to_pylist() for name in names)
        for key, error, correct, confidence, abstain in zip(*columns, strict=True):
            if error is not None:
                self._warn(key, error)
                continue
            self.answers += 1
            self.confidence += confidence
            self.abstained += bool(abstain)  # None: nothing known speaks against it
            if correct is not None:
                self.labelled += 1
                self.right += correct
                self.kept += not abstain
                self.kept_right += correct and not abstain
        self.images += len(rows)
        self.reporter.report(ImagesScored(images=self.images, total=self.total))

    def summary(self) -> PredictionSummary:
        labelled, right = self.labelled, self.right
        return PredictionSummary(
            images=self.images,
            errors=self.errors,
            labelled=labelled,
            right=right,
            accuracy=right / labelled if labelled else None,
            accuracy_interval=wilson_interval(right, labelled) if labelled else None,
            mean_confidence=self.confidence / self.answers,
            abstained=self.abstained,
            accepted_accuracy=self.kept_right / self.kept if self.kept else None,
        )

    def _warn(self, key: str, reason: str) -> None:
        self.reason = self.reason or reason
        self.errors += 1
        # The file names them all.
        if self.errors <= MAX_LISTED:
            message = f"{key}: {reason}"
            self.reporter.report(Warning(code="unreadable_image", message=message, names=(key,)))


class _Groups:
    """Collects rows to row groups that are worth one, and no larger than memory likes."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._waiting: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        self._waiting.append(rows)
        waiting = sum(len(each) for each in self._waiting)
        if waiting >= GROUP_ROWS or sum(each.nbytes for each in self._waiting) >= GROUP_BYTES:
            self._flush()

    def close(self, metadata: dict[str, str]) -> None:
        self._flush()
        self._writer.add_key_value_metadata(metadata)

    def _flush(self) -> None:
        if self._waiting:
            rows = pa.concat_tables(self._waiting).combine_chunks()
            self._writer.write_table(rows, row_group_size=len(rows))
        self._waiting = []


@contextmanager
def _written(final: Path, schema: pa.Schema) -> Iterator[_Groups]:
    """A file that is there once it is whole."""
    aside = final.with_name(final.name + ".writing")
    try:
        with pq.ParquetWriter(aside, schema, compression="zstd") as writer:
            yield _Groups(writer)
        aside.replace(final)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise NoSpace("no space left on the disk to write the predictions") from error
        raise
    finally:
        aside.unlink(missing_ok=True)
