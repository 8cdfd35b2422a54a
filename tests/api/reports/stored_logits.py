"""Reports with the logits that a worker keeps, of models that are a few lines."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from api.context import Context
from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.metrics.metrics import compute_metrics
from store.artifacts.bundles import pack
from store.ids import new_id
from store.tables import Artifact, Checkpoint, Report
from tests.api.rows import add_checkpoint
from tests.carot.calibration.drawn_logits import drawn

CLASSES = ("cat", "dog", "hen")


@dataclass(frozen=True)
class Row:
    """A data set of a report: logits (N, C), labels (N), names of the images."""

    logits: Tensor
    labels: Tensor
    keys: Sequence[str]
    name: str = "test"
    dataset: str = "builtin:digits"
    shift: str | None = None

    @classmethod
    def of(cls, images: int = 300, *, scale: float = 1.0, seed: int = 0, **more: Any) -> Row:
        """Labels that the logits over `scale` give the chances of."""
        logits, labels = drawn(images, len(CLASSES), seed=seed)
        keys = [f"test/{CLASSES[label]}/{i}.png" for i, label in enumerate(labels.tolist())]
        return cls(logits * scale, labels, keys, **more)

    def document(self, calibrator: AnyCalibrator | None) -> dict[str, Any]:
        """What the report says of it."""
        logits = self.logits.float()
        calibrated = None
        if calibrator is not None:
            log = calibrator.log_probabilities(logits)
            calibrated = compute_metrics(log, self.labels).model_dump(mode="json")
        return {
            "name": self.name,
            "dataset": self.dataset,
            "split": "test",
            "shift": self.shift,
            "severity": 3 if self.shift else None,
            "in_distribution": self.shift is None,
            "images": len(self.labels),
            "classes": self.logits.shape[1],
            "raw": compute_metrics(logits, self.labels).model_dump(mode="json"),
            "calibrated": calibrated,
        }


def temperature(row: Row) -> AnyCalibrator:
    """The best one for a row."""
    return fit_temperature(row.logits.float(), row.labels, logit_scale=1.0, classes=CLASSES)


def add_measured(
    context: Context,
    folder: Path,
    rows: Sequence[Row],
    *,
    calibrator: AnyCalibrator | None = None,
    classes: Sequence[str] = CLASSES,
    checkpoint: str | None = None,
) -> tuple[str, str]:
    """A report of a checkpoint, and its logits; the ids of both, report first."""
    checkpoint = checkpoint or add_checkpoint(context, b"weights", tuple(classes))
    logits = folder / new_id("x")
    logits.mkdir(parents=True)
    for i, row in enumerate(rows):
        np.savez(
            logits / f"{i}.npz",
            logits=row.logits.float().numpy(),
            labels=row.labels.to(torch.int64).numpy(),
            keys=np.array(row.keys),
        )
    document = {
        "version": 1,
        "method": "carot",
        "classes": list(classes),
        "calibrator": None if calibrator is None else calibrator.to_json(),
        "datasets": [row.document(calibrator) for row in rows],
    }
    return add_report_with_logits(context, checkpoint, document, logits), checkpoint


def add_report_with_logits(
    context: Context, checkpoint: str, document: dict[str, Any], folder: Path
) -> str:
    """A report of a checkpoint, whose logits are the files of a folder; its id."""
    blob = context.artifacts.put(io.BytesIO(b"".join(pack(folder))))
    with context.database.session() as session:
        made = session.get_one(Checkpoint, checkpoint)
        artifact = Artifact(
            id=new_id("art"),
            kind="logits",
            state="committed",
            media_type="application/x-tar",
            blob_key=blob.key,
            sha256=blob.sha256,
            size=blob.size,
            job_id=made.job_id,
        )
        session.add(artifact)
        session.flush()
        report = Report(
            id=new_id("rep"),
            project_id=made.project_id,
            job_id=made.job_id,
            checkpoint_id=checkpoint,
            logits_artifact_id=artifact.id,
            document=document,
        )
        session.add(report)
        session.flush()
        return report.id
