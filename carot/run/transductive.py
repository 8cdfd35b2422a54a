"""Conf-OT's sets in a file of predictions: all images at once, beside labelled ones like them.

Which set an image gets depends on all the others (`carot.calibration.sets.transported`), so that
rows wait until the last image was looked at. Shape suffixes: N labelled images, M that are scored,
C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import torch
from torch import Tensor

from carot.answers.schemas import LISTED
from carot.calibration.sets.conformal import images_needed
from carot.calibration.sets.transported import MOST_NUMBERS, transported_sets
from carot.data.depths import settle_depth
from carot.errors import CalibrationError, DataError
from carot.evaluation.evaluate import run_model
from carot.evaluation.rows import open_evaluation
from carot.events import Reporter
from carot.models.classifier import Classifier
from carot.run.scoring import LOGITS, WORDS
from carot.specs import EvaluationDataset, PredictSpec, TransductiveSpec

FIELD = "transductive"
SETS = [("transductive_set", WORDS), ("transductive_set_size", pa.int32())]


class Transduction:
    """Collects the rows of a file, which have logits, and gives them back with their sets.

    Args:
        schema: of those rows.
        images: how many will be scored at most, M.

    Attributes:
        schema: of the rows with sets; their logits are there if the spec wants them.

    Raises:
        SpecError, ClassMismatch: the labelled images cannot be used.
        DataError: nor these, or all images together are too many.
        CalibrationError: they are too few for the coverage.
    """

    def __init__(
        self,
        spec: PredictSpec,
        beside: TransductiveSpec,
        classifier: Classifier,
        schema: pa.Schema,
        images: int,
        reporter: Reporter,
        should_stop: Callable[[], bool],
    ) -> None:
        row = EvaluationDataset(name=FIELD, dataset=beside.dataset, split=beside.split)
        source = open_evaluation(row, classifier.classes, FIELD).source
        _check_size(len(source), images, len(classifier.classes), beside.coverage)
        settle_depth(source, classifier.card.depth, FIELD, reporter)
        self._labelled = run_model(
            classifier.model,
            classifier.head_CD,
            source,
            name=FIELD,
            batch_size=spec.batch_size,
            reporter=reporter,
            should_stop=should_stop,
        )
        self._classes, self._coverage = classifier.classes, beside.coverage
        self._rows: list[pa.Table] = []
        place = schema.get_field_index(LOGITS[0])
        fields = [*list(schema)[:place], *(pa.field(*each) for each in SETS)]
        fields += [schema.field(place)] * spec.logits
        self.schema = pa.schema(fields, metadata=schema.metadata)

    def take(self, rows: pa.Table) -> None:
        """Keep some rows, as far as there is to be a file of them."""
        self._rows.append(rows)

    def finished(self) -> Iterator[pa.Table]:
        """All rows in the order in which they were taken, with sets where there is an answer.

        Raises:
            CalibrationError: of the labelled images too few could be read for the coverage.
        """
        parts = [self._logits(rows) for rows in self._rows]
        try:
            inside_MC = transported_sets(
                self._labelled.logits_NC, self._labelled.labels_N, torch.cat(parts), self._coverage
            )
        except CalibrationError as error:
            error.field = f"{FIELD}.coverage" if error.field == "coverage" else FIELD
            raise
        start = 0
        for rows, logits_KC in zip(self._rows, parts, strict=True):
            inside_KC = inside_MC[start : start + len(logits_KC)]
            start += len(logits_KC)
            yield self._with_sets(rows, logits_KC, inside_KC)

    def _logits(self, rows: pa.Table) -> Tensor:
        """Of the rows with an answer."""
        # Flattening leaves out what is null.
        values = rows.column(LOGITS[0]).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return torch.from_numpy(values.copy()).reshape(-1, len(self._classes))

    def _with_sets(self, rows: pa.Table, logits_KC: Tensor, inside_KC: Tensor) -> pa.Table:
        order_KC = logits_KC.argsort(dim=1, descending=True, stable=True)
        kept_KC = inside_KC.gather(1, order_KC)
        named = iter(
            [self._classes[i] for i in order_C[kept_C][:LISTED].tolist()]
            for order_C, kept_C in zip(order_KC, kept_KC, strict=True)
        )
        sizes = iter(inside_KC.sum(dim=1).tolist())
        answered = rows.column(LOGITS[0]).is_valid().to_pylist()
        made = {
            SETS[0][0]: pa.array([next(named) if yes else None for yes in answered], WORDS),
            SETS[1][0]: pa.array([next(sizes) if yes else None for yes in answered], pa.int32()),
        }
        columns = [made[name] if name in made else rows.column(name) for name in self.schema.names]
        return pa.Table.from_arrays(columns, schema=self.schema)


def _check_size(labelled: int, images: int, classes: int, coverage: float) -> None:
    """Refuse before any image is looked at what cannot be done in the end."""
    most = MOST_NUMBERS // classes
    if labelled + images > most:
        raise DataError(
            f"{images} images and {labelled} labelled ones are too many to be taken together: with "
            f"{classes} classes at most {most}. Score fewer at a time, or leave this out",
            field=FIELD,
        )
    needed = images_needed(coverage)
    if labelled < needed:
        raise CalibrationError(
            f"a coverage of {coverage:g} needs {needed} labelled images, and there are {labelled}",
            field=f"{FIELD}.coverage",
        )
