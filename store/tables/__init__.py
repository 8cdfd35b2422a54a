"""The tables, a file for each subject.

Every row belongs to a project, itself or through the row that it hangs on, but for those about the
service itself.
"""

from __future__ import annotations

from store.tables.access import DEFAULT_PROJECT, ApiKey, BrowserSession, IdempotencyRecord, Project
from store.tables.artifacts import Artifact, BlobChunk, BlobHold
from store.tables.base import Base
from store.tables.datasets import Dataset
from store.tables.jobs import Job, JobEvent, JobMetric
from store.tables.models import AliasChange, Calibrator, Checkpoint, ModelAlias, Report
from store.tables.predictions import OWN, CalibrationAlert, Evidence, Label, Prediction
from store.tables.webhooks import Webhook, WebhookDelivery
from store.tables.workers import Worker

__all__ = [
    "DEFAULT_PROJECT",
    "OWN",
    "AliasChange",
    "ApiKey",
    "Artifact",
    "Base",
    "BlobChunk",
    "BlobHold",
    "BrowserSession",
    "CalibrationAlert",
    "Calibrator",
    "Checkpoint",
    "Dataset",
    "Evidence",
    "IdempotencyRecord",
    "Job",
    "JobEvent",
    "JobMetric",
    "Label",
    "ModelAlias",
    "Prediction",
    "Project",
    "Report",
    "Webhook",
    "WebhookDelivery",
    "Worker",
]
