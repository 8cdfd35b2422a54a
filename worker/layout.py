"""Names in the folder of an attempt, as `carot` has them, which would load torch."""

SPEC = "spec.json"
SNAPSHOT = "snapshot"
SNAPSHOT_STATE = "snapshot.json"
CHECKPOINT = "checkpoint"
LOGITS = "logits"
REPORT = "report.json"
PREDICTIONS = "predictions.parquet"
SUMMARY = "predictions.json"
CARD = "classifier.json"
CALIBRATOR = "calibrator.json"
DATASETS = "datasets"
MODELS = "models"
ROOT = "root"
RANKS = "ranks"


def failure_name(rank: int) -> str:
    """Where a process that trains along leaves the event with which it gave up."""
    return f"failed-{rank}.json"
