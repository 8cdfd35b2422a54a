"""A whole run, from a spec to a checkpoint and a report. What the command line and a worker call.

Everything is written under one folder: `snapshot/` (to resume from), `checkpoint/`, `report.json`
and `logits/`. A run that finds a snapshot in its folder goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from carot.events import Reporter
from carot.run.context import (
    CHECKPOINT_NAME,
    LOGITS_NAME,
    REPORT_NAME,
    Context,
    Finished,
    RunResult,
)
from carot.run.evaluate import evaluate
from carot.run.finetune import SNAPSHOT_NAME, finetune
from carot.run.interpolate import interpolate
from carot.run.merge import merge
from carot.run.select import select
from carot.specs import (
    AnySpec,
    EvaluateSpec,
    FinetuneSpec,
    InterpolateSpec,
    MergeSpec,
    SelectSpec,
)

__all__ = [
    "CHECKPOINT_NAME",
    "LOGITS_NAME",
    "REPORT_NAME",
    "SNAPSHOT_NAME",
    "RunResult",
    "execute",
]


def never() -> bool:
    """The `should_stop` of a run that nobody stops."""
    return False


def execute(
    spec: AnySpec,
    folder: Path,
    reporter: Reporter,
    *,
    should_stop: Callable[[], bool] = never,
) -> RunResult:
    """Do what `spec` says and leave the results under `folder`.

    Raises:
        CarotError: the spec, the data, the model or the run is at fault; see `carot.errors`.
        Interrupted: `should_stop` said so; calling again with the same folder goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = Context(spec, folder, reporter, should_stop)
    return context.write(_dispatch(context, spec))


def _dispatch(context: Context, spec: AnySpec) -> Finished:
    match spec:
        case FinetuneSpec():
            return finetune(context, spec)
        case EvaluateSpec():
            return evaluate(context, spec)
        case InterpolateSpec():
            return interpolate(context, spec)
        case MergeSpec():
            return merge(context, spec)
        case SelectSpec():
            return select(context, spec)
