"""The rows of a file of predictions: what is known of each image, and what is answered."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import torch

from carot.data.loader import batches_as_listed
from carot.data.source import ImageSource
from carot.errors import UnreadableImage
from carot.models.classifier import Classifier
from carot.run.scoring import Scoring

ABOUT_IMAGES = [
    ("key", pa.string()),
    ("split", pa.string()),
    ("label", pa.string()),
    ("label_index", pa.int32()),
    ("correct", pa.bool_()),
]


def schema_of(scoring: Scoring) -> pa.Schema:
    """Of the rows that `scored_batches` gives."""
    return pa.schema([*ABOUT_IMAGES, *scoring.schema], metadata=scoring.schema.metadata)


def scored_batches(
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
            _text(each.reason) if isinstance(each, UnreadableImage) else reason
            for each, reason in zip(batch, unanswered, strict=True)
        ]
        answers = answers.set_column(0, "error", pa.array(errors, pa.string()))
        about = [
            [_text(source.keys[i]) for i in indices],
            [split] * len(batch),
            [labels.name(i) for i in indices],
            [labels.index(i) for i in indices],
            [labels.is_right(i, guess) for i, guess in zip(indices, guesses, strict=True)],
        ]
        arrays = [pa.array(c, kind) for c, (_, kind) in zip(about, ABOUT_IMAGES, strict=True)]
        yield pa.Table.from_arrays([*arrays, *answers.columns], schema=schema_of(scoring))


class _Labels:
    """What is known of the images' classes, in words and in the classifier's."""

    def __init__(self, source: ImageSource, classes: tuple[str, ...]) -> None:
        self._source = source
        known = {name: i for i, name in enumerate(classes)}
        groups = source.members or [(name,) for name in source.classes]
        self._members = [{known[name] for name in group if name in known} for group in groups]

    def name(self, image: int) -> str | None:
        label = int(self._source.labels[image])
        return _text(self._source.classes[label]) if label >= 0 else None

    def index(self, image: int) -> int | None:
        """Among the classifier's classes; None where it has none or several of this one."""
        members = self._of(image)
        return next(iter(members)) if len(members) == 1 else None

    def is_right(self, image: int, guess: int | None) -> bool | None:
        """Whether an answer is right; None without a known label."""
        members = self._of(image)
        return guess in members if members and guess is not None else None

    def _of(self, image: int) -> set[int]:
        label = int(self._source.labels[image])
        return self._members[label] if label >= 0 else set()


def _text(name: str) -> str:
    """File names may hold bytes that are no text, which a file of text has no room for."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
