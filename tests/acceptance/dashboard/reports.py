"""Reports of a model that is a few lines: logits with noise, measured by the project itself."""

from __future__ import annotations

import functools
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sqlalchemy.orm import Session
from torch import Tensor

from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.automatic import choose_calibrator
from carot.calibration.calibrators.fitting import Sample, fit_calibrator
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.shift_score import fit_shift_score, own_distances
from carot.calibration.sets.unseen_score import fit_unseen_score
from carot.data.digits import handwritten_digits
from carot.evaluation.figures import CalibrationSummary, FittedCalibrator
from carot.evaluation.measuring import measure, with_shift
from carot.evaluation.reports import Candidate, build_report
from carot.evaluation.unseen import Likeness, UnseenImages, top_confidences, unseen_report
from carot.evaluation.unseen_figures import UnseenReport
from carot.specs import EvaluateSpec, EvaluationDataset, FinetuneSpec
from store.artifacts import ArtifactStore
from store.artifacts.bundles import pack
from store.database import Database
from store.ids import new_id
from store.jobs.claims import succeed
from store.jobs.jobs import create_job
from store.models.checkpoints import create_checkpoint
from store.reports.reports import create_report
from store.tables import DEFAULT_PROJECT, Artifact
from tests.acceptance.dashboard.fill import new_job, start

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
KINDS = ("temperature", "isotonic", "vector")
RUN = {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
ROWS = (
    (EvaluationDataset(name="test", dataset="builtin:digits", in_distribution=True), 0.0),
    (EvaluationDataset(name="inverted-3", dataset="builtin:digits", shift="inverted"), 1.6),
    (EvaluationDataset(name="noise-3", dataset="builtin:digits", shift="noise"), 0.8),
    (EvaluationDataset(name="blur-3", dataset="builtin:digits", shift="blur"), 0.4),
)
"""Data sets, and how much worse the model is there."""


@dataclass(frozen=True)
class Outputs:
    """What a model makes of a split's images."""

    logits: Tensor
    labels: Tensor
    features: Tensor
    keys: tuple[str, ...]


def outputs(split: str, skill: float, worse: float = 0.0, seed: int = 0) -> Outputs:
    """Overconfident logits for the digits of a split."""
    source = handwritten_digits(split)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(source.labels)
    noise = (1.5 + worse) * torch.randn(len(labels), 10, generator=generator)
    logits = 2.2 * (skill * torch.nn.functional.one_hot(labels, 10) + noise)
    features = torch.randn(len(labels), 16, generator=generator) * (1 + worse) + worse
    return Outputs(logits, labels, features, tuple(source.keys))


@functools.cache
def fine_tuned(skill: float = 5.0) -> tuple[dict[str, Any], tuple[Outputs, ...]]:
    """A report of a fine-tuning, with calibrators and candidates, and what it measured."""
    own = outputs("calibration", skill, seed=9)
    sample = Sample(own.logits, own.labels)
    origin: dict[str, Any] = {"logit_scale": 1.0, "classes": DIGITS}
    fitted = {kind: fit_calibrator(kind, sample, **origin) for kind in KINDS}
    score = fit_shift_score(own.features)
    calibration = Calibration(
        fitted["temperature"],
        fitted,
        fit_calibration_evidence(own.logits, own.labels, classes=DIGITS),
        score,
    )
    seen = tuple(outputs("test", skill, worse, seed=i) for i, (_, worse) in enumerate(ROWS))
    rows = [
        measure(row, o.logits, o.labels, o.features, calibration=calibration, skipped=())
        for (row, _), o in zip(ROWS, seen, strict=True)
    ]
    rows = with_shift(rows, [score.distances(o.features) for o in seen], score)
    summary = CalibrationSummary(
        images=len(own.labels),
        asked="auto",
        served="temperature",
        raw_nll=0.3,
        calibrators=(
            *(FittedCalibrator(kind=k, calibrator=c, nll=0.2) for k, c in fitted.items()),
            FittedCalibrator(kind="domain_temperature", calibrator=None, reason="no domains"),
        ),
        choice=choose_calibrator(sample, KINDS, **origin),
    )
    candidates = [
        Candidate(
            name=f"step {step}",
            step=step,
            accuracy=0.9 + step / 10_000,
            nll=0.4 - step / 4000,
            calibration_error=0.002,
            sigma_min=0.05,
            score=0.4 - step / 4000,
            chosen=step == 400,
        )
        for step in (200, 400)
    ]
    report = build_report(
        FinetuneSpec.model_validate(RUN),
        rows,
        classes=DIGITS,
        method="carot",
        architecture="carot-mini",
        calibration=calibration,
        summary=summary,
        rule="nll",
        candidates=candidates,
        unseen=unseen(calibration, own, seen[0], outputs("test", 0.5, 1.0, seed=50)),
    )
    return report.model_dump(mode="json"), seen


def unseen(
    calibration: Calibration, usual: Outputs, known: Outputs, other: Outputs
) -> UnseenReport:
    """What the report says of images that are none of the digits."""
    score, own = calibration.shift_score, own_distances(usual.features)
    assert score is not None
    reference = fit_unseen_score(top_confidences(usual.logits, calibration), own)

    def likeness(of: Outputs) -> Likeness:
        confidence = top_confidences(of.logits, calibration)
        return Likeness(of.keys, confidence, score.distances(of.features))

    row = EvaluationDataset(name="letters", dataset="ds_letters", unseen=True)
    images = UnseenImages(row, ("a", "b"), likeness(other), ())
    return unseen_report("test", likeness(known), [images], reference)


@functools.cache
def zero_shot() -> tuple[dict[str, Any], tuple[Outputs, ...]]:
    """A report of the model that it started from."""
    seen = tuple(outputs("test", 2.5, worse, seed=20 + i) for i, (_, worse) in enumerate(ROWS))
    rows = [
        measure(row, o.logits, o.labels, o.features, calibration=None, skipped=())
        for (row, _), o in zip(ROWS, seen, strict=True)
    ]
    report = build_report(
        EvaluateSpec.model_validate(RUN),
        rows,
        classes=DIGITS,
        method="zero_shot",
        architecture="carot-mini",
        calibration=None,
    )
    return report.model_dump(mode="json"), seen


def add_fine_tuned(
    database: Database,
    artifacts: ArtifactStore,
    name: str = "digits, CaRot",
    skill: float = 5.0,
) -> dict[str, str]:
    """A job that fine-tuned; ids of it, its checkpoint and its report."""
    document, seen = fine_tuned(skill)
    held = start(database, new_job(database, name))
    with database.session() as session:
        checkpoint = create_checkpoint(
            session,
            held,
            artifact_id=_keep(session, artifacts, held.job_id, [b"weights"], "checkpoint"),
            architecture="carot-mini",
            method="carot",
            classes=list(DIGITS),
            templates=["{}"],
            calibrator=document["calibrator"],
            metrics={"ood_mean": document["ood_mean"]},
        )
        report = create_report(
            session,
            held,
            checkpoint_id=checkpoint.id,
            document=document,
            logits_artifact_id=_keep_logits(session, artifacts, held.job_id, seen),
        )
        succeed(session, held, checkpoint_id=checkpoint.id, report_id=report.id)
        return {"job": held.job_id, "checkpoint": checkpoint.id, "report": report.id}


def add_zero_shot(database: Database, artifacts: ArtifactStore) -> dict[str, str]:
    """A job that evaluated the start; ids of it and its report."""
    document, seen = zero_shot()
    with database.session() as session:
        spec = EvaluateSpec.model_validate(RUN)
        job = create_job(session, spec, project=DEFAULT_PROJECT, name="zero-shot digits")
    held = start(database, job.id)
    with database.session() as session:
        logits = _keep_logits(session, artifacts, held.job_id, seen)
        report = create_report(
            session, held, checkpoint_id=None, document=document, logits_artifact_id=logits
        )
        succeed(session, held, report_id=report.id)
        return {"job": held.job_id, "report": report.id}


def _keep_logits(
    session: Any, artifacts: ArtifactStore, job: str, seen: tuple[Outputs, ...]
) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        for i, each in enumerate(seen):
            np.savez(
                Path(scratch) / f"{i}.npz",
                logits=each.logits.float().numpy(),
                labels=each.labels.to(torch.int64).numpy(),
                keys=np.array(each.keys),
            )
        return _keep(session, artifacts, job, list(pack(Path(scratch))), "logits")


def _keep(
    session: Session, artifacts: ArtifactStore, job: str, content: list[bytes], kind: str
) -> str:
    blob = artifacts.put(io.BytesIO(b"".join(content)))
    row = Artifact(
        id=new_id("art"),
        kind=kind,
        state="committed",
        name=f"{kind}.tar",
        media_type="application/x-tar",
        blob_key=blob.key,
        sha256=blob.sha256,
        size=blob.size,
        job_id=job,
    )
    session.add(row)
    session.flush()
    return row.id
