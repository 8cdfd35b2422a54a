"""The one training loop, for every method.

A step encodes its images and distinct captions, lets the method compare them, and steps AdamW with
warm-up and cosine decay. With accumulation the image tower runs per micro-batch and again on the
way back (activation checkpointing), so that the loss and its gradient are those of the whole batch
at the memory of one micro-batch. Where several processes share the batches, each of them runs this
loop (see `carot.distributed`).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from carot.data.loader import TrainingBatches, evaluation_batches
from carot.data.source import SubsetSource
from carot.errors import DataError, Interrupted, NoSpace, TrainingError
from carot.events import PhaseStarted, Reporter, SnapshotSaved, StepDone, Warning
from carot.models.clip import ClipModel
from carot.models.prompts import Captions
from carot.specs import TrainingSpec
from carot.training.encoder import StepEncoder
from carot.training.identity import RunIdentity
from carot.training.methods import Features, Method
from carot.training.parameters import parameter_groups
from carot.training.snapshots import RunState, load_snapshot, save_snapshot

RATE_WINDOW = 20
"""Steps over which the rate and the time left are averaged."""


@dataclass(frozen=True)
class FitResult:
    """What a finished training run says of itself: steps done, the last loss, seconds spent."""

    steps: int
    loss: float | None
    seconds: float


class Watcher(Protocol):
    """Looks at a model while it trains, and saves its own state in snapshots."""

    def modules(self) -> dict[str, nn.Module]:
        """What a snapshot has to hold for it, by names that no method uses."""

    def after_step(self, done: int, total: int) -> None:
        """`done` of `total` steps are done; leaves the model in training mode.

        May raise `Interrupted`, and is then called again with the same step when the run resumes;
        it may be called more than once with any step.
        """


def keep_snapshot(folder: Path, state: RunState, run: RunIdentity, reporter: Reporter) -> None:
    """Save one and say so; where there is no room, the one before stands and the run goes on."""
    try:
        save_snapshot(folder, state, run)
    except NoSpace as error:
        message = f"step {state.step}: {error}"
        reporter.report(Warning(code="snapshot_not_kept", message=message))
    else:
        reporter.report(SnapshotSaved(step=state.step, path=str(folder)))


def fit(
    model: ClipModel,
    method: Method,
    batches: TrainingBatches,
    captions: Captions,
    spec: TrainingSpec,
    reporter: Reporter,
    *,
    snapshot_folder: Path,
    run: RunIdentity,
    should_stop: Callable[[], bool],
    watcher: Watcher | None = None,
) -> FitResult:
    """Train to the end, from the snapshot in `snapshot_folder` if there is one.

    Args:
        run: what the snapshot must agree on: one of another spec or data set is refused.
        should_stop: asked before each step; when true a snapshot is written and the run ends.
            Of several processes all stop when one is told to.
        watcher: looks at the model behind each step, before a snapshot of it is written; of several
            processes the first may have one, and the others wait for it.

    Raises:
        Interrupted: `should_stop` said so; the snapshot stands.
        RankLost: another process of this run has ended.
        TrainingError: the loss is not finite.
        CheckpointError: the snapshot cannot be used.
    """
    ranks = batches.ranks
    total = total_steps(spec, batches.steps_per_epoch)
    every = spec.snapshot_every or max(200, batches.steps_per_epoch)
    optimizer = torch.optim.AdamW(parameter_groups(method, spec.weight_decay), lr=0.0)
    # A scaler is for the narrow range of fp16 alone; disabled it passes everything through.
    scaler = torch.amp.GradScaler(model.device.type, enabled=spec.precision == "fp16")
    modules = method.modules() | (watcher.modules() if watcher is not None else {})
    state = RunState(modules, optimizer, scaler)
    method.prepare(lambda count: look(model, batches, count, should_stop))
    with ranks.first_before_others():
        load_snapshot(snapshot_folder, state, run)
    ranks.align(method.modules().values())
    model.module.train()
    reporter.report(PhaseStarted(phase="training", total=total))

    def snapshot() -> None:
        if ranks.first:
            keep_snapshot(snapshot_folder, state, run, reporter)
        ranks.wait()

    def watch() -> None:
        interrupted = False
        if watcher is not None:
            try:
                watcher.after_step(state.step, total)
            except Interrupted:
                interrupted = True
        stop(if_any=interrupted)

    def stop(*, if_any: bool) -> None:
        if ranks.any(if_any):
            snapshot()
            raise Interrupted(f"stopped at step {state.step} of {total}")

    watch()  # a stop may have come while it looked
    started = time.monotonic()
    times = deque([started], maxlen=RATE_WINDOW + 1)
    value: float | None = None
    for batch in batches.steps(state.step, total):
        stop(if_any=should_stop())
        step = state.step
        rate = method.learning_rate(step, spec)
        for group in optimizer.param_groups:
            group["lr"] = rate
        method.before_step(step)
        anchors = method.anchors(step, batch.images_NCHW, batch.share)
        encoder = StepEncoder(batch, captions, method.uses_captions, spec, anchors, ranks)
        teacher = method.teach(step, encoder.without_gradient)
        loss = method.loss(encoder(model), teacher)
        value = float(loss.total.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {step + 1}; a lower training.learning_rate or "
                "training.precision fp32 may help",
                field="training.learning_rate",
            )
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss.total).backward()
        trained = [parameter for _, parameter in method.parameters()]
        ranks.average_gradients(trained)
        scaler.unscale_(optimizer)
        limit = spec.max_gradient_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(trained, limit))
        scaler.step(optimizer)
        scaler.update()
        method.after_step(step)
        state.step = step + 1
        times.append(time.monotonic())
        per_second = (len(times) - 1) / max(times[-1] - times[0], 1e-9)
        reporter.report(
            StepDone(
                step=state.step,
                total_steps=total,
                epoch=state.step / batches.steps_per_epoch,
                loss=value,
                losses={name: float(term.detach()) for name, term in loss.terms.items()},
                learning_rate=rate,
                gradient_norm=norm if math.isfinite(norm) else None,
                rate=per_second,
                eta_seconds=(total - state.step) / per_second,
            )
        )
        watch()  # behind the report: a stop that comes meanwhile leaves a snapshot of this step
        if state.step % every == 0 or state.step == total:
            snapshot()
    model.module.eval()
    return FitResult(state.step, value, time.monotonic() - started)


@torch.no_grad()
def look(
    model: ClipModel, batches: TrainingBatches, count: int, should_stop: Callable[[], bool]
) -> Features:
    """Features of up to `count` training images, drawn with the run's seed, without crops.

    Raises:
        Interrupted: `should_stop` said so.
    """
    model.module.eval()
    generator = torch.Generator().manual_seed(batches.seed)
    drawn = torch.randperm(len(batches.source), generator=generator)[:count].tolist()
    source = SubsetSource(batches.source, sorted(drawn))
    features, labels = [], []
    for batch in evaluation_batches(
        source, batches.transform, batches.batch_size, batches.unreadable
    ):
        if should_stop():
            raise Interrupted("stopped before the first step")
        features.append(model.encode_images(batch.images_NCHW.to(model.device)))
        labels.append(batch.labels_N.to(model.device))
    if not features:
        raise DataError(f"{batches.unreadable.dataset}: no training image can be read")
    return Features(torch.cat(features), None, torch.cat(labels))


def total_steps(spec: TrainingSpec, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run."""
    return spec.epochs * steps_per_epoch
