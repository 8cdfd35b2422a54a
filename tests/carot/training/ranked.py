"""Work that several processes do together over gloo, on the CPU; results lie in files."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from carot.distributed import Ranks
from carot.errors import Interrupted, RankLost
from carot.events import Warning
from carot.run import assist, execute
from carot.specs import (
    AnchorSpec,
    CarotMethod,
    DiveMethod,
    FinetuneMethod,
    FinetuneSpec,
    FlypMethod,
    FunctionSpaceMethod,
    LabelSmoothingMethod,
    LinearProbeMethod,
    LipsumMethod,
    LoraSpec,
    LpFtMethod,
    TracerMethod,
)
from carot.training.encoder import StepEncoder
from carot.training.trainer import look
from tests.carot.run.listener import Listener
from tests.carot.training.whole_runs import CAROT, Run

PATIENCE_SECONDS = 90
ANCHORED = CAROT.model_copy(update={"anchor": AnchorSpec(weight=2.0, temperature=1.5)})
Case = tuple[Any, dict[str, Any]]
CASES: dict[str, Case] = {
    "carot": (CAROT, {}),
    "carot of pairs": (CarotMethod(positives="pair"), {}),
    "carot with anchors": (ANCHORED, {}),
    "carot with an anchor or none": (
        CAROT.model_copy(update={"anchor": AnchorSpec(weight=2.0, share=0.2)}),
        {},
    ),
    "carot with anchors in micro-batches": (ANCHORED, {"accumulation_steps": 3}),
    "flyp": (FlypMethod(), {}),
    "flyp of pairs in micro-batches": (FlypMethod(positives="pair"), {"accumulation_steps": 2}),
    "label smoothing": (LabelSmoothingMethod(), {}),
    "tracer": (TracerMethod(), {}),
    "finetune": (FinetuneMethod(), {}),
    "linear probe": (LinearProbeMethod(), {}),
    "lp-ft": (LpFtMethod(probe_fraction=0.01), {}),
    "lipsum-ft": (LipsumMethod(texts=4), {}),
    "dive": (DiveMethod(), {}),
    "function space": (FunctionSpaceMethod(), {}),
    "carot of adapters": (CAROT, {"adapters": LoraSpec(rank=2)}),
    "finetune of adapters": (FinetuneMethod(), {"adapters": LoraSpec(rank=2)}),
}


def on_ranks(
    count: int, folder: Path, work: Callable[..., None], *arguments: Any, joined: bool = True
) -> None:
    """Call `work(ranks, *arguments)` on each of `count` processes; all of them have to succeed."""
    # One process loads torch, and the others are forked from it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    folder.mkdir(parents=True, exist_ok=True)
    processes = [
        context.Process(target=_work, args=(rank, count, folder, work, arguments, joined))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    assert codes == [0] * count


def _work(
    rank: int,
    count: int,
    folder: Path,
    work: Callable[..., None],
    arguments: tuple[Any, ...],
    joined: bool,
) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    ranks = Ranks(rank, count, store=folder / "store")
    with ranks if joined else nullcontext():
        work(ranks, *arguments)


def save_gradients(ranks: Ranks, root: Path, folder: Path) -> None:
    """Loss and gradient of every case, and a sum of nothing but features in float64."""
    found = {"float64": float64_gradient(ranks)}
    for name, (method, training) in CASES.items():
        for key, value in gradients(Run(root, method, ranks, batch_size=8, **training)).items():
            found[f"{name}/{key}"] = value
    save_file(found, folder / f"{ranks.rank}.safetensors")


def gradients(run: Run, step: int = 1) -> dict[str, Tensor]:
    """The loss of a step and its gradient, with a student that has left its teacher behind."""
    ranks = run.batches.ranks
    run.method.prepare(lambda count: look(run.model, run.batches, count, lambda: False))
    run.model.module.train()
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, parameter in run.method.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=random))
    batch = next(run.batches.steps(step, step + 1))
    run.method.before_step(step)
    anchors = run.method.anchors(step, batch.images_NCHW, batch.share)
    uses_captions = run.method.uses_captions
    encoder = StepEncoder(batch, run.captions, uses_captions, run.spec, anchors, ranks)
    teacher = run.method.teach(step, encoder.without_gradient)
    loss = run.method.loss(encoder(run.model), teacher)
    loss.total.backward()
    trained = dict(run.method.parameters())
    ranks.average_gradients(trained.values())
    found = {n: p.grad.clone() for n, p in trained.items() if p.grad is not None}
    terms = {f"loss.{name}": term.detach().clone() for name, term in loss.terms.items()}
    return found | terms | {"loss": loss.total.detach().clone()}


def float64_gradient(ranks: Ranks) -> Tensor:
    """Gradient of a weight through shares of 7 rows, and through a term that all have."""
    random = torch.Generator().manual_seed(0)
    rows_BD = torch.randn(7, 3, generator=random, dtype=torch.float64)
    weight = nn.Parameter(torch.randn(3, 4, generator=random, dtype=torch.float64))
    bounds = [7 * rank // ranks.count for rank in range(ranks.count + 1)]
    mine_ND = rows_BD[bounds[ranks.rank] : bounds[ranks.rank + 1]]
    features_BD = ranks.gather(mine_ND @ weight, ranks.share(len(mine_ND)))
    logits_BB = features_BD @ features_BD.t().sin()
    (F.cross_entropy(logits_BB, torch.arange(7)) + weight.square().sum()).backward()
    ranks.average_gradients([weight])
    assert weight.grad is not None
    return weight.grad


def save_torn(ranks: Ranks, root: Path, folder: Path, torn: int) -> None:
    """A step whose batch holds an image that cannot be read, alone in its share."""
    run = Run(root, FlypMethod(), ranks, batch_size=2)
    steps = range(run.batches.steps_per_epoch)
    step = next(step for step in steps if torn in run.batches.indices(step))
    found = gradients(run, step)
    names = [name for e in run.events if isinstance(e, Warning) for name in e.names]
    assert names == [run.batches.source.keys[torn]]
    save_file(found, folder / f"{ranks.rank}.safetensors")


def save_runs(ranks: Ranks, root: Path, folder: Path, method: Any) -> None:
    """A run without a stop; one that goes on behind a stop that only the last rank is told of."""
    straight = Run(root / "straight", method, ranks)
    straight.fit()
    save_file(straight.weights(), folder / f"straight-{ranks.rank}.safetensors")
    first = Run(root / "resumed", method, ranks)
    try:
        first.fit(stop_after=4 if ranks.rank == ranks.count - 1 else None)
    except Interrupted:
        assert len(first.steps()) == 4
    else:
        raise AssertionError("not stopped")
    second = Run(root / "resumed", method, ranks)
    torch.manual_seed(100 + ranks.rank)
    second.fit()
    save_file(second.weights(), folder / f"resumed-{ranks.rank}.safetensors")
    losses = [step.loss for step in straight.steps()]
    assert [step.loss for step in first.steps() + second.steps()] == losses
    # What another number of processes left is taken up, too.
    other = Run(root / "alone", method, ranks)
    other.fit()
    assert other.steps()[0].step == 5
    save_file(other.weights(), folder / f"taken-up-{ranks.rank}.safetensors")


def stop_for_another(ranks: Ranks, root: Path) -> None:
    """Leave a snapshot behind 4 steps."""
    try:
        Run(root, ANCHORED, ranks).fit(stop_after=4)
    except Interrupted:
        return
    raise AssertionError("not stopped")


def check_loss(ranks: Ranks) -> None:
    """The first waits for another that has ended without a word."""
    try:
        ranks.wait()  # who goes before both have joined is no loss, there is no beginning then
        if not ranks.first:
            os._exit(0)
        ranks.wait()
    except RankLost:
        os._exit(0)
    raise AssertionError("nothing was noticed")


def check_randomness(ranks: Ranks) -> None:
    """Numbers are a rank's own within, and everybody's outside."""
    torch.manual_seed(5)
    drawn = []
    for _ in range(2):
        with ranks.own_randomness(torch.device("cpu")):
            drawn.append(torch.rand(4)[None])
        drawn.append(torch.rand(4)[None])
    own, common, again, common_again = (ranks.gather(d, ranks.share(1)) for d in drawn)
    for found in (common, common_again):
        assert torch.equal(found, found[:1].expand_as(found))
    seen = torch.cat([own, again, common[:1], common_again[:1]])
    assert len(seen.unique(dim=0)) == len(seen)


def check_agreement(ranks: Ranks, folder: Path) -> None:
    """What one knows all know; the first acts before the others; what differs is aligned."""
    assert [ranks.any(ranks.rank == rank) for rank in (0, ranks.count - 1, -1)] == [1, 1, 0]
    with ranks.first_before_others():
        if ranks.first:
            time.sleep(0.2)
            (folder / "written").touch()
        assert (folder / "written").exists()
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, float(ranks.rank))
    ranks.align([module])
    assert float(module.weight.detach().abs().sum()) == 0.0


def stop_while_it_chooses(ranks: Ranks, spec: FinetuneSpec, folder: Path) -> None:
    """A run that is stopped while the first process evaluates a candidate, behind 4 of 8 steps."""
    if not ranks.first:
        try:
            assist(spec, folder, ranks=ranks)
        except Interrupted:
            return
        raise AssertionError("not stopped")
    listener = Listener()

    def should_stop() -> bool:
        # Behind 4 steps the next to ask is the candidate's first batch of the selection split.
        return len(listener.steps()) >= 4

    try:
        execute(spec, folder, listener, should_stop=should_stop, ranks=ranks)
    except Interrupted:
        assert len(listener.steps()) == 4
        assert listener.types()[-1] == "snapshot_saved"
        assert "candidate_measured" not in listener.types()
    else:
        raise AssertionError("not stopped")


def run_to_the_end(ranks: Ranks, spec: FinetuneSpec, folder: Path, first_step: int) -> None:
    """A run of which the first process leaves the report, and the others leave nothing."""
    if not ranks.first:
        assist(spec, folder, ranks=ranks)
        return
    listener = Listener()
    execute(spec, folder, listener, ranks=ranks)
    assert listener.types().count("candidate_measured") == 2
    assert listener.steps() == list(range(first_step, 9))
