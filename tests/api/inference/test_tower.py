"""Batches as a device runs them best: the same numbers, in other shapes and layouts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from api.inference import defaults
from api.inference.tower import Tower, is_convolutional, pad, padded_size, padded_sizes
from carot.models.clip import ClipModel, from_config, load_model
from carot.specs import ModelSpec

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
RESNET = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16},
    "text_cfg": TEXT,
}
CLASSES = 5


@pytest.fixture(scope="module", params=["transformer", "resnet"])
def model(request: pytest.FixtureRequest) -> ClipModel:
    torch.manual_seed(0)
    if request.param == "resnet":
        return from_config(RESNET)
    return load_model(ModelSpec(architecture="carot-mini"))


@pytest.fixture
def head(model: ClipModel) -> torch.Tensor:
    width = model.encode_images(torch.zeros(1, 3, *model.image_size)).shape[1]
    return torch.randn(CLASSES, width, generator=torch.Generator().manual_seed(1))


def test_a_tower_says_what_the_model_says(model: ClipModel, head: torch.Tensor) -> None:
    images = torch.rand(3, 3, *model.image_size)
    with torch.no_grad():
        expected_ND = model.encode_images(images).double()
    tower = Tower(model, head)
    logits_NC, features_ND = tower(images)
    assert features_ND.dtype == logits_NC.dtype == torch.float32
    assert torch.allclose(features_ND.double(), expected_ND, atol=1e-5)
    assert torch.allclose(logits_NC.double(), expected_ND @ head.double().t(), atol=1e-4)
    assert torch.allclose(features_ND.norm(dim=1), torch.ones(3))


def test_padding_changes_nothing_but_the_shape(model: ClipModel, head: torch.Tensor) -> None:
    images = torch.rand(5, 3, *model.image_size)
    tower = Tower(model, head)
    plain = tower(images)
    tower._padded = True  # as on a GPU
    padded = tower(images)
    for one, other in zip(plain, padded, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-5)


def test_its_size_is_that_of_its_tensors(model: ClipModel, head: torch.Tensor) -> None:
    state = model.module.state_dict().values()
    expected = sum(each.numel() * each.element_size() for each in state) + 4 * head.numel()
    found = Tower(model, head).memory_bytes
    assert expected <= found < 1.05 * expected + 100_000  # a mask is a buffer, and in no state


def test_convolutional_towers_are_told_from_transformers() -> None:
    assert is_convolutional(from_config(RESNET).module.get_submodule("visual"))
    mini = load_model(ModelSpec(architecture="carot-mini"))
    assert not is_convolutional(mini.module.get_submodule("visual"))


def test_sizes_are_powers_of_two() -> None:
    assert [padded_size(n) for n in (1, 2, 3, 4, 5, 8, 33, 64)] == [1, 2, 4, 4, 8, 8, 64, 64]
    assert padded_sizes(64) == [1, 2, 4, 8, 16, 32, 64]
    assert padded_sizes(48) == [1, 2, 4, 8, 16, 32, 64]
    assert padded_sizes(1) == [1]
    images = torch.ones(3, 1, 2, 2)
    assert pad(images).flatten(1).sum(dim=1).tolist() == [4, 4, 4, 0]
    assert pad(images[:2]).equal(images[:2])


def test_warm_ups_are_every_size_that_occurs(model: ClipModel, head: torch.Tensor) -> None:
    tower = Tower(model, head)
    assert len(tower.warm_ups(64)) == 2
    assert len(tower.warm_ups(1)) == 1
    tower._padded = True
    assert len(tower.warm_ups(8)) == 4
    for warm_up in tower.warm_ups(2):
        warm_up()


def test_models_have_a_share_of_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1]) * 1024
    monkeypatch.setattr(defaults, "LIMITS", ())
    assert defaults.ram() == pytest.approx(whole, rel=0.05)
    limit, none = tmp_path / "limit", tmp_path / "none"
    limit.write_text("3000000\n")
    none.write_text("max\n")
    monkeypatch.setattr(defaults, "LIMITS", (tmp_path / "absent", none, limit))
    assert defaults.ram() == 3_000_000
    assert defaults.models_share("cpu") == 1_000_000
    assert defaults.best_batch("cpu") == 16


def test_a_long_pass_is_worth_a_longer_wait() -> None:
    waits = [defaults.best_wait("cpu", seconds) for seconds in (0.0, 0.002, 0.4, 60.0)]
    assert waits == pytest.approx([0.01, 0.01, 0.08, 0.2])
