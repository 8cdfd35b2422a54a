"""Summary of a file of predictions, counted while it is written."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field

from carot.calibration.metrics.intervals import Interval, wilson_interval
from carot.calibration.metrics.numbers import Numbers
from carot.data.loader import MAX_LISTED
from carot.events import ImagesScored, Reporter, Warning


class PredictionSummary(Numbers):
    """What the file of predictions says on the whole."""

    images: int = Field(ge=1, description="Rows of the file.")
    errors: int = Field(
        ge=0,
        description="Images that could not be read, or for which the model gave no finite numbers.",
    )
    labelled: int = Field(
        ge=0, description="Answered images whose label is among the checkpoint's classes."
    )
    right: int = Field(ge=0, description="How many of those are answered rightly.")
    accuracy: float | None = Field(description="right / labelled.")
    accuracy_interval: Interval | None = Field(description="Wilson's 95 % interval of it.")
    mean_confidence: float = Field(ge=0, le=1, description="Calibrated, of the top class.")
    abstained: int = Field(ge=0, description="Images not to be acted on.")
    accepted_accuracy: float | None = Field(
        description="Of the labelled images that were not abstained from."
    )


@dataclass
class Tally:
    """Sums over the rows written, reported as progress."""

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
        """Count some rows, and tell of them."""
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
        """Of all rows that were taken; one at least has an answer."""
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
