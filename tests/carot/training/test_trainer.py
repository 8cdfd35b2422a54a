from __future__ import annotations

import copy
import math
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from carot.errors import CheckpointError, Interrupted, TrainingError
from carot.events import SnapshotSaved, StepDone
from carot.models.clip import MAX_LOG_SCALE
from carot.models.prompts import Captions
from carot.specs import (
    AnchorSpec,
    AverageSpec,
    CarotMethod,
    DiveMethod,
    FinetuneMethod,
    FlypMethod,
    FunctionSpaceMethod,
    LabelSmoothingMethod,
    LinearProbeMethod,
    LipsumMethod,
    LoraSpec,
    LpFtMethod,
    TeacherSpec,
    TracerMethod,
    ZeroShotMethod,
)
from carot.training.encoder import StepEncoder
from carot.training.methods import build_method
from carot.training.parameters import parameter_groups
from carot.training.schedules import learning_rate_at
from tests.carot.tiny import tiny_model
from tests.carot.training.whole_runs import CAROT, Run, assert_same_gradient

ANCHORED = CAROT.model_copy(update={"anchor": AnchorSpec(weight=0.5)})
EVERY_THIRD = TeacherSpec(kind="trajectory", update_every=3)
METHODS = [
    FinetuneMethod(),
    LinearProbeMethod(),
    LpFtMethod(probe_fraction=0.3),
    LipsumMethod(texts=4),
    FunctionSpaceMethod(),
    FlypMethod(),
    FlypMethod(positives="pair"),
    LabelSmoothingMethod(),
    DiveMethod(weight=10.0),
    CAROT,
    CAROT.model_copy(update={"teacher": EVERY_THIRD}),
    ANCHORED,
    TracerMethod(),
    TracerMethod(teacher=CAROT.teacher),
]
ADAPTED = [each for each in METHODS if not isinstance(each, LinearProbeMethod)]


def label(method: Any) -> str:
    teacher, anchor = getattr(method, "teacher", None), getattr(method, "anchor", None)
    kinds = [teacher.kind if teacher else "", "anchored" if anchor and anchor.weight else ""]
    return "-".join([method.name, getattr(method, "positives", ""), *kinds])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=label)
@pytest.mark.parametrize("stop_after", [1, 7])
def test_a_resumed_run_ends_with_bit_equal_weights(
    method: Any, stop_after: int, tmp_path: Path
) -> None:
    check_resumed_run(method, stop_after, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", [ANCHORED, LpFtMethod(probe_fraction=0.3)], ids=label)
@pytest.mark.parametrize("from_fraction", [0.0, 0.5])
@pytest.mark.parametrize("stop_after", [1, 11])
def test_a_resumed_run_ends_with_a_bit_equal_average(
    method: Any, from_fraction: float, stop_after: int, tmp_path: Path
) -> None:
    average = AverageSpec(kind="beta", from_fraction=from_fraction)
    check_resumed_run(method, stop_after, tmp_path, average=average)


@pytest.mark.slow
@pytest.mark.parametrize("method", ADAPTED, ids=label)
def test_a_resumed_run_of_adapters_ends_with_bit_equal_weights(method: Any, tmp_path: Path) -> None:
    check_resumed_run(method, 7, tmp_path, adapters=LoraSpec(rank=2))


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [3, 4, 5])
def test_a_run_stopped_where_the_probe_ends_goes_on(stop_after: int, tmp_path: Path) -> None:
    """Its probe has 4 steps: image tower and optimizer know nothing of each other before."""
    method = LpFtMethod(probe_fraction=4 / 15)
    check_resumed_run(method, stop_after, tmp_path)


class Told:
    """A watcher that is told to stop while it looks behind the third step."""

    def modules(self) -> dict[str, nn.Module]:
        return {}

    def after_step(self, done: int, total: int) -> None:
        if done == 3:
            raise Interrupted("told to stop")


def test_a_snapshot_comes_behind_the_report_of_its_step(tmp_path: Path) -> None:
    """Whoever keeps both has no gap in the curves, wherever the run is stopped."""
    run = Run(tmp_path, FlypMethod())
    with pytest.raises(Interrupted):
        run.fit(watcher=Told())
    *_, last, saved = run.events
    assert isinstance(saved, SnapshotSaved)
    assert isinstance(last, StepDone)
    assert saved.step == last.step == 3


def check_resumed_run(method: Any, stop_after: int, tmp_path: Path, **how: Any) -> None:
    straight = Run(tmp_path / "straight", method, **how)
    straight.fit()
    first = Run(tmp_path / "resumed", method, **how)
    with pytest.raises(Interrupted):
        first.fit(stop_after=stop_after)
    second = Run(tmp_path / "resumed", method, **how)
    torch.manual_seed(99)
    second.fit()
    assert second.steps()[0].step == stop_after + 1
    expected = straight.weights()
    for name, value in second.weights().items():
        assert torch.equal(value, expected[name]), name
    losses = [s.loss for s in straight.steps()]
    assert [s.loss for s in first.steps() + second.steps()] == losses
    assert any(
        not torch.equal(v, w)
        for v, w in zip(
            expected.values(),
            Run(tmp_path / "untrained", method, **how).weights().values(),
            strict=True,
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=label)
def test_training_lowers_the_loss(method: Any, tmp_path: Path) -> None:
    run = Run(tmp_path, method, epochs=8, learning_rate=3e-3)
    run.fit()
    name = "contrastive" if run.method.uses_captions else "cross_entropy"
    terms = [s.losses[name] for s in run.steps()]
    assert sum(terms[-5:]) < sum(terms[:5])


@pytest.mark.parametrize("method", [CAROT, ANCHORED], ids=label)
def test_accumulation_gives_the_gradient_of_the_whole_batch(method: Any, tmp_path: Path) -> None:
    gradients = []
    for parts in (1, 3):
        run = Run(tmp_path, method, accumulation_steps=parts, batch_size=8)
        batch = next(run.batches.steps(0, 1))
        anchors = run.method.anchors(1, batch.images_NCHW)
        encoder = StepEncoder(batch, run.captions, True, run.spec, anchors)
        teacher = run.method.teach(1, encoder.without_gradient)
        loss = run.method.loss(encoder(run.model), teacher)
        assert ("anchor" in loss.terms) == (anchors is not None)
        loss.total.backward()
        gradients.append({n: p.grad for n, p in run.method.parameters()})
    for name, gradient in gradients[0].items():
        assert_same_gradient(gradient, gradients[1][name])


@pytest.mark.parametrize(
    "method", [LinearProbeMethod(), LpFtMethod(), LipsumMethod(), FunctionSpaceMethod()]
)
def test_methods_with_a_frozen_tower_accumulate(method: Any, tmp_path: Path) -> None:
    losses = []
    for parts in (1, 3):
        run = Run(tmp_path / str(parts), method, accumulation_steps=parts, batch_size=8)
        run.fit()
        losses.append([s.loss for s in run.steps()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_unique_captions_give_the_gradient_of_all_captions(tmp_path: Path) -> None:
    run = Run(tmp_path, FlypMethod(), batch_size=8)
    batch = next(run.batches.steps(0, 1))
    encoder = StepEncoder(batch, run.captions, True, run.spec)
    assert encoder.text is not None
    tokens_UL, position_B = encoder.text
    assert len(tokens_UL) < len(position_B)
    run.method.loss(encoder(run.model), None).total.backward()
    unique = {n: p.grad.clone() for n, p in run.method.parameters() if p.grad is not None}
    run.model.module.zero_grad()
    encoder.text = tokens_UL[position_B], torch.arange(len(position_B))
    run.method.loss(encoder(run.model), None).total.backward()
    for name, parameter in run.method.parameters():
        assert_same_gradient(parameter.grad, unique[name])


@pytest.mark.parametrize("method", [CAROT, ANCHORED], ids=label)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_fp32_weights(method: Any, precision: str, tmp_path: Path) -> None:
    run = Run(tmp_path, method, precision=precision, epochs=1)
    run.fit()
    assert {v.dtype for v in run.model.module.state_dict().values()} == {torch.float32}
    reference = Run(tmp_path / "fp32", method, epochs=1)
    reference.fit()
    assert run.steps()[0].loss != reference.steps()[0].loss
    assert run.steps()[0].loss == pytest.approx(reference.steps()[0].loss, rel=0.05)


def test_plain_finetuning_leaves_the_text_tower_alone(tmp_path: Path) -> None:
    run = Run(tmp_path, FinetuneMethod())
    before = run.weights()
    run.fit()
    changed = {n for n, v in run.weights().items() if not torch.equal(v, before[n])}
    assert "classifier.weight" in changed
    assert all(n.startswith(("model.visual.", "classifier.")) for n in changed)


def test_a_linear_probe_trains_its_head_alone(tmp_path: Path) -> None:
    run = Run(tmp_path, LinearProbeMethod())
    before = run.weights()
    run.fit()
    changed = {n for n, v in run.weights().items() if not torch.equal(v, before[n])}
    assert changed == {"classifier.weight"}


def test_lp_ft_trains_the_tower_behind_the_probe_only(tmp_path: Path) -> None:
    """A probe of 4 steps of 15, stopped at its end and taken up again."""
    method = LpFtMethod(probe_fraction=4 / 15, probe_learning_rate=0.02)
    first, second = Run(tmp_path, method), Run(tmp_path, method)
    before = first.weights()
    with pytest.raises(Interrupted):
        first.fit(stop_after=4)
    changed = {n for n, v in first.weights().items() if not torch.equal(v, before[n])}
    assert changed == {"classifier.weight"}
    second.fit()
    changed = {n for n, v in second.weights().items() if not torch.equal(v, before[n])}
    assert {"classifier.weight", "model.visual.proj"} < changed
    assert all(n.startswith(("model.visual.", "classifier.")) for n in changed)
    rates = [s.learning_rate for s in first.steps() + second.steps()]
    assert max(rates[:4]) == pytest.approx(0.02)
    assert max(rates[4:]) == pytest.approx(1e-3)


def test_the_log_scale_is_clamped(tmp_path: Path) -> None:
    run = Run(tmp_path, FlypMethod(), epochs=1)
    with torch.no_grad():
        run.model.logit_scale.fill_(9.0)
    run.fit()
    scale = float(run.model.logit_scale.detach())
    assert MAX_LOG_SCALE - 0.1 < scale <= MAX_LOG_SCALE


@pytest.mark.parametrize("start", [math.log(112.33), -1.0], ids=["siglip", "below-one"])
def test_the_clamp_reaches_to_the_starts_own_scale(start: float, tmp_path: Path) -> None:
    run = Run(tmp_path, FlypMethod(), epochs=1)
    with torch.no_grad():
        run.model.logit_scale.fill_(start)
    method = build_method(FlypMethod(), run.model, run.captions, 10)
    given = run.model.logit_scale.detach().clone()
    method.after_step(0)
    assert torch.equal(run.model.logit_scale.detach(), given)
    outwards = 0.5 if start > 0 else -0.5
    with torch.no_grad():
        run.model.logit_scale.add_(outwards)
    method.after_step(1)
    assert torch.equal(run.model.logit_scale.detach(), given)


@pytest.mark.parametrize(
    "method", [FinetuneMethod(), LinearProbeMethod(), LipsumMethod(texts=4), FunctionSpaceMethod()]
)
def test_a_method_that_does_not_train_the_scale_leaves_it_alone(method: Any) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    build_method(method, model, Captions(model, ("a", "b"), ("{}",)), 10).after_step(0)
    assert float(model.logit_scale.detach()) == 9.0


def test_a_loss_that_is_not_finite_ends_the_run_with_advice(tmp_path: Path) -> None:
    run = Run(tmp_path, FlypMethod())
    with torch.no_grad():
        run.model.module.visual.proj.fill_(float("nan"))
    with pytest.raises(TrainingError, match="learning_rate"):
        run.fit()


def test_a_disk_without_room_for_snapshots_costs_none_of_the_run(tmp_path: Path) -> None:
    undisturbed, run = Run(tmp_path, CAROT), Run(tmp_path, CAROT, snapshot_every=4)
    undisturbed.fit()
    shutil.rmtree(tmp_path / "snapshot")
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # what is larger meets EFBIG
    try:
        run.fit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    warnings = [event for event in run.events if event.type == "warning"]
    assert [event.code for event in warnings] == ["snapshot_not_kept"] * len(warnings)
    assert len(warnings) >= 3
    assert "no space left" in warnings[0].message
    assert not any(event.type == "snapshot_saved" for event in run.events)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
    for name, value in undisturbed.weights().items():
        assert torch.equal(run.weights()[name], value), name


def test_a_snapshot_of_another_spec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        Run(tmp_path, CAROT).fit(stop_after=2, run="one")
    with pytest.raises(CheckpointError, match="another spec"):
        Run(tmp_path, CAROT).fit(run="two")


def test_a_torn_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        Run(tmp_path, CAROT).fit(stop_after=2)
    path = tmp_path / "snapshot" / "snapshot.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        Run(tmp_path, CAROT).fit()


def test_the_teacher_moves_by_its_schedule(tmp_path: Path) -> None:
    run = Run(tmp_path, CAROT, epochs=1)
    start = copy.deepcopy(run.model.module.state_dict())
    run.fit()
    teacher = run.method.modules()["teacher"].state_dict()
    student = run.model.module.state_dict()
    name = "visual.proj"
    assert not torch.equal(teacher[name], student[name])
    assert not torch.equal(teacher[name], start[name])
    assert "distillation" not in run.steps()[0].losses
    assert all("distillation" in s.losses for s in run.steps()[1:])


def test_a_weight_of_zero_switches_a_term_off(tmp_path: Path) -> None:
    method = CarotMethod(orthogonality_weight=0, distillation_weight=0, cross_norm_weight=0)
    run, flyp = Run(tmp_path, method), Run(tmp_path, FlypMethod())
    assert set(run.method.modules()) == {"model"}
    batch = next(run.batches.steps(0, 1))
    values = []
    for each in (run, flyp):
        encoder = StepEncoder(batch, each.captions, True, each.spec)
        values.append(each.method.loss(encoder(each.model), None).total)
    assert torch.equal(*values)


def test_zero_shot_trains_nothing() -> None:
    model = tiny_model()
    method = build_method(ZeroShotMethod(), model, Captions(model, ("a", "b"), ("{}",)), 0)
    assert not method.trains
    assert list(method.parameters()) == []
    assert method.outcome().module is model.module


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    rates = [learning_rate_at(step, 100, 2.0e-3, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(2e-4)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(2e-3)
    assert rates[55] == pytest.approx(1e-3)
    assert 0 < rates[-1] < 1e-6
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_biases_norms_and_scales_are_not_decayed(tmp_path: Path) -> None:
    run = Run(tmp_path, FlypMethod())
    decayed, plain = parameter_groups(run.method, 0.1)
    names = {id(p): n for n, p in run.method.parameters()}
    plain_names = {names[id(p)] for p in plain["params"]}  # type: ignore[attr-defined]
    assert "logit_scale" in plain_names
    assert "visual.ln_post.weight" in plain_names
    assert "visual.conv1.weight" not in plain_names
    assert plain["weight_decay"] == 0.0
    assert decayed["weight_decay"] == 0.1
    total = len(plain["params"]) + len(decayed["params"])  # type: ignore[arg-type]
    assert total == len(names)


class Named:
    """Parameters by the names and shapes that families give them."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.named = {name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}

    def parameters(self) -> Any:
        return self.named.items()


def test_positions_tokens_queries_and_scales_are_not_decayed() -> None:
    plain = {
        "visual.trunk.pos_embed": (1, 5, 8),
        "visual.trunk.cls_token": (1, 1, 8),
        "visual.trunk.reg_token": (1, 4, 8),
        "visual.trunk.attn_pool.latent": (1, 2, 8),
        "visual.attn_pool.query": (4, 8),
        "visual.trunk.stages.0.layer_scale.gamma": (8, 1, 1),
        "visual.trunk.layers.0.attn.relative_position_bias_table": (9, 2),
        "text.cls_emb": (8,),
        "text.transformer.embeddings.position_embeddings.weight": (16, 8),
        "text.transformer.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 2),
    }
    decayed = {
        "visual.trunk.attn_pool.q.weight": (8, 8),
        "visual.trunk.patch_embed.proj.weight": (8, 3, 2, 2),
        "text.transformer.embeddings.word_embeddings.weight": (30, 8),
        "visual.proj": (8, 4),
    }
    method: Any = Named(plain | decayed)
    groups = parameter_groups(method, 0.1)
    names = {id(p): name for name, p in method.parameters()}
    found = [{names[id(p)] for p in group["params"]} for group in groups]  # type: ignore[attr-defined]
    assert found == [set(decayed), set(plain)]


def test_the_forms_of_a_spec_reach_the_loss(tmp_path: Path) -> None:
    terms = {}
    for form in ("squared", "unsquared"):
        method = CarotMethod.model_validate({"cross_norm_form": form, "orthogonality_form": form})
        run = Run(tmp_path, method)
        batch = next(run.batches.steps(0, 1))
        encoder = StepEncoder(batch, run.captions, True, run.spec)
        terms[form] = run.method.loss(encoder(run.model), None).terms
    squared, unsquared = terms["squared"], terms["unsquared"]
    torch.testing.assert_close(squared["orthogonality"], unsquared["orthogonality"] ** 2)
    torch.testing.assert_close(squared["cross_norm"], unsquared["cross_norm"] ** 2 / 2)
