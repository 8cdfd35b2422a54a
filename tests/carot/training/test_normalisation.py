"""Batch normalisation: statistics of the whole batch, or the start's; never of micro-batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from carot.distributed import ALONE, Ranks
from carot.errors import SpecError
from carot.models.clip import ClipModel, from_config
from carot.specs import CarotMethod, FinetuneMethod, FlypMethod, TrainingSpec
from carot.training.normalisation import prepare_normalisation
from tests.carot.tiny import CONFIG, tiny_model
from tests.carot.training.whole_runs import Run, assert_same_gradient

VISION = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
GATHERED = "visual.bn1.num_batches_tracked"
DEFAULT = CarotMethod.model_validate({"anchor": {"weight": 0.3, "share": 0.5}})


def resnet() -> ClipModel:
    torch.manual_seed(0)
    return from_config({**CONFIG, "vision_cfg": VISION}, architecture="RN")


def test_micro_batches_are_refused_where_they_would_have_statistics_of_their_own() -> None:
    parts = TrainingSpec(accumulation_steps=2)
    with pytest.raises(SpecError, match="freeze_batch_norm") as caught:
        prepare_normalisation(resnet(), ALONE, parts)
    assert caught.value.field == "training.accumulation_steps"
    prepare_normalisation(tiny_model(), ALONE, parts)
    prepare_normalisation(resnet(), ALONE, parts.model_copy(update={"freeze_batch_norm": True}))


def test_frozen_statistics_need_no_gpu_in_several_processes() -> None:
    prepare_normalisation(resnet(), Ranks(0, 2), TrainingSpec(freeze_batch_norm=True))


def test_each_step_gathers_statistics_once(tmp_path: Path) -> None:
    run = Run(tmp_path, FlypMethod(), model=resnet(), epochs=1)
    run.fit()
    assert int(run.model.module.state_dict()[GATHERED]) == len(run.steps()) == 5


@pytest.mark.parametrize("method", [FlypMethod(), FinetuneMethod(), DEFAULT], ids=lambda m: m.name)
@pytest.mark.parametrize("parts", [1, 3])
def test_frozen_statistics_stay_the_starts(method: object, parts: int, tmp_path: Path) -> None:
    """Whoever puts the model into training mode in between: finetune does in every step."""
    start = resnet().module.state_dict()
    run = Run(
        tmp_path, method, model=resnet(), epochs=1, freeze_batch_norm=True,
        accumulation_steps=parts,
    )  # fmt: skip
    run.fit()
    found = run.model.module.state_dict()
    statistics = [name for name in start if "running_" in name or "num_batches" in name]
    assert len(statistics) > 10
    assert all(torch.equal(found[name], start[name]) for name in statistics)
    assert not torch.equal(found["visual.bn1.weight"], start["visual.bn1.weight"])


def test_frozen_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    gradients = []
    for parts in (1, 2):
        run = Run(
            tmp_path / str(parts), FlypMethod(), model=resnet(), epochs=1, batch_size=8,
            freeze_batch_norm=True, accumulation_steps=parts, learning_rate=1e-9,
        )  # fmt: skip
        run.fit()
        gradients.append({name: p.grad for name, p in run.method.parameters()})
    for name, gradient in gradients[0].items():
        if gradient is not None:
            assert_same_gradient(gradient, gradients[1][name], name)
