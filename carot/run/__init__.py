"""A whole run, from a spec to a checkpoint and a report. What the command line and a worker call.

Everything is written under one folder: `snapshot/` (to resume from), `checkpoint/`, `report.json`
and `logits/`; or `predictions.parquet`. A run that finds a snapshot in its folder resumes from
it. Where several processes train together, the first of them calls `execute` and every other
`assist`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import overload

from carot.distributed import ALONE, Ranks
from carot.events import Reporter, Silent
from carot.run.context import (
    CHECKPOINT_NAME,
    LOGITS_NAME,
    REPORT_NAME,
    Context,
    Finished,
    RunResult,
)
from carot.run.evaluate import evaluate
from carot.run.finetune import SNAPSHOT_NAME, finetune, train_along
from carot.run.interpolate import interpolate
from carot.run.merge import merge
from carot.run.predict import PREDICTIONS_NAME, Predicted, predict
from carot.run.select import select
from carot.specs import (
    AnySpec,
    EvaluateSpec,
    FinetuneSpec,
    InterpolateSpec,
    MeasuringSpec,
    MergeSpec,
    PredictSpec,
    SelectSpec,
)

__all__ = [
    "CHECKPOINT_NAME",
    "LOGITS_NAME",
    "PREDICTIONS_NAME",
    "REPORT_NAME",
    "SNAPSHOT_NAME",
    "Predicted",
    "RunResult",
    "assist",
    "execute",
]


def never() -> bool:
    """The `should_stop` of a run that is never stopped."""
    return False


@overload
def execute(
    spec: MeasuringSpec,
    folder: Path,
    reporter: Reporter,
    *,
    should_stop: Callable[[], bool] = never,
    ranks: Ranks = ALONE,
) -> RunResult: ...


@overload
def execute(
    spec: PredictSpec,
    folder: Path,
    reporter: Reporter,
    *,
    should_stop: Callable[[], bool] = never,
    ranks: Ranks = ALONE,
) -> Predicted: ...


@overload
def execute(
    spec: AnySpec,
    folder: Path,
    reporter: Reporter,
    *,
    should_stop: Callable[[], bool] = never,
    ranks: Ranks = ALONE,
) -> RunResult | Predicted: ...


def execute(
    spec: AnySpec,
    folder: Path,
    reporter: Reporter,
    *,
    should_stop: Callable[[], bool] = never,
    ranks: Ranks = ALONE,
) -> RunResult | Predicted:
    """Do what `spec` says and leave the results under `folder`.

    Args:
        ranks: the processes of the run, of which this is the first.

    Raises:
        CarotError: the spec, the data, the model or the run is at fault; see `carot.errors`.
        Interrupted: `should_stop` said so; calling again with the same folder goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(spec, PredictSpec):
        return predict(spec, folder, reporter, should_stop)
    context = Context(spec, folder, reporter, should_stop, ranks)
    context.check_copies()
    return context.write(_dispatch(context, spec))


def assist(
    spec: AnySpec, folder: Path, *, should_stop: Callable[[], bool] = never, ranks: Ranks
) -> None:
    """Train along with the process that executes `spec`, on the same machine.

    Does nothing for a kind of run that does not train. Says and writes nothing.

    Raises:
        CarotError: what the first process meets, too; `RankLost` when that one has ended.
        Interrupted: some process's `should_stop` said so.
    """
    if isinstance(spec, FinetuneSpec):
        train_along(Context(spec, folder, Silent(), should_stop, ranks), spec)


def _dispatch(context: Context, spec: MeasuringSpec) -> Finished:
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
