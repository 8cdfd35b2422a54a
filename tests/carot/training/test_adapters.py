"""Methods with adapters: what trains, what is kept beside it, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from carot.models.adapters import adapters_in, attach_adapters, is_factor, merged
from carot.models.clip import ClipModel
from carot.specs import (
    TOWERS,
    AnchorSpec,
    CarotMethod,
    FinetuneMethod,
    FlypMethod,
    LabelSmoothingMethod,
    LipsumMethod,
    LoraSpec,
    LpFtMethod,
    TeacherSpec,
    TracerMethod,
)
from carot.training.parameters import parameter_groups
from carot.training.teachers import build_teacher
from tests.carot.models.families import write_family
from tests.carot.tiny import tiny_model
from tests.carot.training.whole_runs import CAROT, Run

LORA = LoraSpec(rank=2)
METHODS: list[Any] = [
    FinetuneMethod(),
    LpFtMethod(probe_fraction=0.3),
    LipsumMethod(texts=4),
    FlypMethod(),
    LabelSmoothingMethod(),
    CAROT.model_copy(update={"anchor": AnchorSpec(weight=0.5)}),
    TracerMethod(),
]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_every_method_trains_adapters_and_leaves_the_rest(method: Any, tmp_path: Path) -> None:
    start = tiny_model().module.state_dict()
    run = Run(tmp_path, method, adapters=LORA, epochs=8, learning_rate=1e-2)
    run.fit()
    end = merged(run.model.module).state_dict()
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    beside = {"visual.proj", "text_projection", "logit_scale"}
    if not run.method.uses_captions:
        beside = {"visual.proj"}
    assert changed == set(adapters_in(run.model.module)) | beside
    name = "contrastive" if run.method.uses_captions else "cross_entropy"
    terms = [step.losses[name] for step in run.steps()]
    assert sum(terms[-5:]) < sum(terms[:5])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_the_frozen_rest_has_no_gradient_and_no_state(method: Any, tmp_path: Path) -> None:
    run = Run(tmp_path, method, adapters=LORA)
    optimizer = torch.optim.AdamW(parameter_groups(run.method, 0.1))
    held = {id(each) for group in optimizer.param_groups for each in group["params"]}
    own = {name: p for name, p in run.model.module.named_parameters() if not is_factor(name)}
    held_own = {name for name, parameter in own.items() if id(parameter) in held}
    assert held_own <= {"visual.proj", "text_projection", "logit_scale"}
    factors = [p for name, p in run.model.module.named_parameters() if is_factor(name)]
    assert factors
    assert {id(each) for each in factors} <= held
    run.fit()
    assert all(own[name].grad is None for name in own.keys() - held_own)


def test_the_constraints_reach_what_trains(tmp_path: Path) -> None:
    """The projections that CaRot looks at are not frozen, so the terms are not constant."""
    run = Run(tmp_path, CAROT, adapters=LORA)
    for projection in (run.model.visual_projection(), run.model.text_projection()):
        assert projection.requires_grad
    assert not run.method.warnings


@pytest.mark.parametrize("kind", ["momentum", "trajectory"])
def test_a_teacher_averages_weights_and_not_factors(kind: Any) -> None:
    """The mean of B A over steps, by hand; the product of the means of B and A is another."""
    model = tiny_model()
    attach_adapters(model, LORA, TOWERS)
    spec = TeacherSpec(kind=kind, update_every=1)
    teacher = build_teacher(spec, model.module, total_steps=4)
    expected = {name: value.double() for name, value in merged(model.module).state_dict().items()}
    torch.manual_seed(5)
    for step in range(3):
        with torch.no_grad():
            for name, parameter in model.module.named_parameters():
                if is_factor(name):
                    parameter.normal_()
        teacher.update(model.module, step)
        share = teacher.share(step)
        now = merged(model.module).state_dict()
        expected = {
            name: (1 - share) * value + share * now[name] for name, value in expected.items()
        }
    found = teacher.module.state_dict()
    assert found.keys() == tiny_model().module.state_dict().keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-5)


def test_copies_share_what_is_frozen() -> None:
    """A teacher of a full run is a whole copy; one beside adapters has but what changes."""

    def own(module: nn.Module, student: nn.Module) -> set[str]:
        theirs = {id(parameter) for parameter in student.parameters()}
        return {name for name, each in module.named_parameters() if id(each) not in theirs}

    model = tiny_model()
    teacher = build_teacher(TeacherSpec(), model.module, 10).module
    assert own(teacher, model.module) == {name for name, _ in teacher.named_parameters()}
    attach_adapters(model, LORA, TOWERS)
    teacher = build_teacher(TeacherSpec(), model.module, 10).module
    beside = {"visual.proj", "text_projection", "logit_scale"}
    assert own(teacher, model.module) == set(adapters_in(model.module)) | beside


@pytest.mark.slow
def test_accumulation_gives_the_same_run(tmp_path: Path) -> None:
    losses = []
    for parts in (1, 3):
        run = Run(
            tmp_path / str(parts), CAROT, adapters=LORA, accumulation_steps=parts, batch_size=8
        )
        run.fit()
        losses.append([step.loss for step in run.steps()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.slow
def test_batch_statistics_stay_the_starts(tmp_path: Path) -> None:
    """They are in no adapter file. Micro-batches are none the worse for it."""
    from carot.models.clip import load_folder

    folder = write_family("MobileCLIP-S (FastViT)", tmp_path / "model")

    def trained(adapters: LoraSpec | None, parts: int) -> ClipModel:
        run = Run(
            tmp_path / f"{adapters is None}{parts}", FlypMethod(), model=load_folder(folder),
            adapters=adapters, accumulation_steps=parts,
        )  # fmt: skip
        run.fit()
        return run.model

    start = dict(load_folder(folder).module.named_buffers())
    for model, same in ((trained(LORA, 2), True), (trained(None, 1), False)):
        end = dict(model.module.named_buffers())
        assert all(torch.equal(start[name], end[name]) for name in start) == same


def test_factors_are_decayed_whatever_their_shape(tmp_path: Path) -> None:
    run = Run(tmp_path, FlypMethod(), adapters=LoraSpec(rank=1))
    decayed, plain = parameter_groups(run.method, 0.1)
    factors = {id(p) for name, p in run.method.parameters() if is_factor(name)}
    assert factors <= {id(each) for each in decayed["params"]}  # type: ignore[attr-defined]
    assert factors.isdisjoint(id(each) for each in plain["params"])  # type: ignore[attr-defined]


def test_the_same_seed_draws_the_same_adapters() -> None:
    def factors(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed + 100)
        model = tiny_model()
        attach_adapters(model, LORA, TOWERS, seed)
        return [each.lora_a for each in adapters_in(model.module).values()]

    first, again, other = factors(1), factors(1), factors(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_carot_default_is_not_changed_by_the_switch(tmp_path: Path) -> None:
    """Without adapters everything trains that trained before."""
    run = Run(tmp_path, CarotMethod())
    assert len(list(run.method.parameters())) == len(list(run.model.module.parameters()))
    head = Run(tmp_path, FinetuneMethod()).method
    visual = tiny_model().module.get_submodule("visual")
    assert len(list(head.parameters())) == len(list(visual.parameters())) + 1
