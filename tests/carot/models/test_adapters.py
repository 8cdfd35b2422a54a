from __future__ import annotations

import copy
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from carot.errors import CheckpointError, SpecError
from carot.models.adapter_file import ADAPTERS_NAME, Adapters, AdaptersCard, with_adapters
from carot.models.adapters import (
    LowRank,
    adapters_in,
    attach_adapters,
    beside_adapters,
    is_factor,
    merged,
)
from carot.models.attention import attention_matrices
from carot.models.catalogue import family
from carot.models.checkpoints import ClassifierCard, save_checkpoint
from carot.models.clip import WEIGHTS_NAME, ClipModel, from_config, load_folder
from carot.specs import TOWERS, LoraSpec, Tower
from tests.carot.models.families import FAMILIES, write_family
from tests.carot.tiny import tiny_model

CONVOLUTIONAL = ("CLIP ResNet", "ConvNeXt")
B32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12,
    },
}  # fmt: skip


def shaken(model: ClipModel, spec: LoraSpec, trained: tuple[Tower, ...] = TOWERS) -> ClipModel:
    """The model with adapters that are no longer zero, and all else that trains moved, too."""
    attach_adapters(model, spec, trained)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.module.named_parameters():
            if is_factor(name):
                parameter.normal_(std=0.2)
            elif parameter.requires_grad:
                parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def card(model: ClipModel, spec: LoraSpec, trained: tuple[Tower, ...] = TOWERS) -> AdaptersCard:
    return AdaptersCard(architecture=model.architecture, adapters=spec, trained=trained)


def test_the_formula_by_hand() -> None:
    """W + (alpha / r) B A of each block, summed entry by entry in float64."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(6, 5, dtype=torch.float64, generator=generator)
    adapter = LowRank(weight, (True, False, True), rank=2, scale=16 / 2)
    assert torch.equal(adapter(weight), weight)
    assert adapter.lora_a.abs().max() <= 5**-0.5
    with torch.no_grad():
        adapter.lora_b.normal_(generator=generator)
    a, b = adapter.lora_a.tolist(), adapter.lora_b.tolist()
    expected = weight.tolist()
    for factors, block in ((0, 0), (1, 2)):
        for row in range(2):
            for column in range(5):
                added = sum(b[factors][row][k] * a[factors][k][column] for k in range(2))
                expected[2 * block + row][column] += 8 * added
    torch.testing.assert_close(
        adapter(weight), torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=1e-14
    )


def test_gradients_by_hand() -> None:
    """Of L = <G, W'>: dA = s B' G, dB = s G A', and none of W."""
    torch.manual_seed(0)
    weight, given = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    adapter = LowRank(weight, (True,), rank=2, scale=0.5)
    nn.init.normal_(adapter.lora_b)
    (given * adapter(weight)).sum().backward()
    a, b = adapter.lora_a[0].detach(), adapter.lora_b[0].detach()
    torch.testing.assert_close(adapter.lora_a.grad, (0.5 * b.T @ given)[None])
    torch.testing.assert_close(adapter.lora_b.grad, (0.5 * given @ a.T)[None])


def test_the_sum_keeps_its_precision_under_autocast() -> None:
    weight = torch.randn(8, 8)
    adapter = LowRank(weight, (True,), rank=4, scale=1.0)
    nn.init.normal_(adapter.lora_b)
    expected = adapter(weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(adapter(weight), expected)


def test_packed_projections_are_adapted_block_by_block() -> None:
    """As if query, key and value were apart: what is not named does not move."""
    start = tiny_model().module
    model = shaken(tiny_model(), LoraSpec(rank=2, targets=("query", "value")))
    before, after = start.state_dict(), merged(model.module).state_dict()
    name = "visual.transformer.resblocks.0.attn.in_proj_weight"
    query, key, value = (after[name] - before[name]).chunk(3)
    assert not key.any()
    for change in (query, value):
        assert torch.linalg.matrix_rank(change, atol=1e-4) == 2
    adapter = adapters_in(model.module)[name]
    assert torch.equal(key, torch.zeros_like(key))
    torch.testing.assert_close(query, 8.0 * adapter.lora_b[0] @ adapter.lora_a[0])
    torch.testing.assert_close(value, 8.0 * adapter.lora_b[1] @ adapter.lora_a[1])
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == set(adapters_in(model.module)) | set(beside_adapters(start, TOWERS))


def test_only_adapters_and_the_last_maps_train() -> None:
    model = tiny_model()
    attach_adapters(model, LoraSpec(rank=2), TOWERS)
    trains = {name for name, each in model.module.named_parameters() if each.requires_grad}
    own = {name for name in trains if not is_factor(name)}
    assert own == {"visual.proj", "text_projection", "logit_scale"}
    assert {name.split(".")[0] for name in trains - own} == {"visual", "transformer"}

    model = tiny_model()
    attach_adapters(model, LoraSpec(rank=2, towers=("image",)), TOWERS)
    trains = {name for name, each in model.module.named_parameters() if each.requires_grad}
    assert {name.split(".")[0] for name in trains if is_factor(name)} == {"visual"}
    assert {name for name in trains if not is_factor(name)} == own

    model = tiny_model()
    attach_adapters(model, LoraSpec(rank=2), ("image",))
    trains = {name for name, each in model.module.named_parameters() if each.requires_grad}
    assert {name for name in trains if not is_factor(name)} == {"visual.proj"}
    assert {name.split(".")[0] for name in trains} == {"visual"}


def test_a_merged_copy_leaves_its_original_alone() -> None:
    model = shaken(tiny_model(), LoraSpec(rank=2))
    images, tokens = torch.randn(2, 3, 32, 32), model.tokenize(["a cat", "a dog"])
    before = [model.encode_images(images), model.encode_captions(tokens)]
    names = list(model.module.state_dict())
    plain = model.with_module(merged(model.module))
    assert plain.module.state_dict().keys() == tiny_model().module.state_dict().keys()
    assert not adapters_in(plain.module)
    for own, other in zip(
        before, [plain.encode_images(images), plain.encode_captions(tokens)], strict=True
    ):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-5)
    copied = copy.deepcopy(model.module)
    assert list(model.module.state_dict()) == names == list(copied.state_dict())
    assert torch.equal(model.encode_images(images), before[0])
    assert torch.equal(model.with_module(copied).encode_images(images), before[0])


@pytest.mark.parametrize("name", [each for each in FAMILIES if each not in CONVOLUTIONAL])
def test_every_family_with_attention_can_be_adapted(name: str, tmp_path: Path) -> None:
    """Each of its projections is found, is learned, and merges into what open_clip loads."""
    folder = write_family(name, tmp_path / "start")
    model = load_folder(folder)
    attach_adapters(model, LoraSpec(rank=1), TOWERS)
    for tower in TOWERS:
        found = list(attention_matrices(model.module, tower))
        targets = [target for matrix in found for target in matrix.blocks]
        # One by one the same number of each: no projection was overlooked.
        assert len({targets.count(each) for each in ("query", "key", "value", "output")}) == 1
    size = model.image_size
    images, tokens = torch.randn(2, 3, *size), model.tokenize(["a photo", "of a dark"])
    (model.encode_images(images).sum() + model.encode_captions(tokens).sum()).backward()
    for path, adapter in adapters_in(model.module).items():
        gradient = adapter.lora_b.grad
        assert gradient is not None, path
        assert gradient.any(), path
    with torch.no_grad():
        for key, parameter in model.module.named_parameters():
            if is_factor(key):
                parameter.normal_(std=0.1)
    expected = model.encode_images(images), model.encode_captions(tokens)
    plain = load_folder(folder)
    plain.module.load_state_dict(merged(model.module).state_dict())
    torch.testing.assert_close(plain.encode_images(images), expected[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(plain.encode_captions(tokens), expected[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_tower_without_attention_blocks_is_refused(name: str, tmp_path: Path) -> None:
    model = load_folder(write_family(name, tmp_path / "start"))
    with pytest.raises(SpecError, match=r"no attention blocks to adapt.*\[\"text\"\]") as caught:
        attach_adapters(model, LoraSpec(rank=1), TOWERS)
    assert caught.value.field == "adapters.towers"
    assert not adapters_in(model.module)
    attach_adapters(model, LoraSpec(rank=1, towers=("text",)), TOWERS)
    assert not any(path.startswith("visual.") for path in adapters_in(model.module))


@pytest.mark.parametrize(
    ("architecture", "attention"),
    [("RN50", False), ("convnext_base", False), ("ViT-B-32", True), ("ViT-B-16-SigLIP", True),
     ("MobileCLIP-S1", True), ("EVA02-B-16", True), ("carot-mini", True)],
)  # fmt: skip
def test_what_can_be_adapted_is_known_before_a_download(architecture: str, attention: bool) -> None:
    assert family(architecture).attention == attention


def test_a_rank_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="rank 16 itself") as caught:
        attach_adapters(tiny_model(), LoraSpec(rank=17), TOWERS)
    assert caught.value.field == "adapters.rank"


def test_start_and_adapter_file_are_the_checkpoint(tmp_path: Path) -> None:
    spec = LoraSpec(rank=2)
    model = shaken(tiny_model(), spec)
    plain = model.with_module(merged(model.module))
    head_CD = torch.randn(2, 16)
    about = ClassifierCard(
        architecture="tiny", method="carot", classes=("x", "y"), caption_names=("x", "y"),
        templates=("{}",), logit_scale=1.0, head="trained",
    )  # fmt: skip
    adapters = Adapters.of(model.module, card(model, spec))
    save_checkpoint(tmp_path / "checkpoint", plain, head_CD, about, None, adapters)

    again = with_adapters(tiny_model(), tmp_path / "checkpoint").module.state_dict()
    stored = load_file(tmp_path / "checkpoint" / WEIGHTS_NAME)
    assert stored.keys() == again.keys()
    for name, value in stored.items():
        assert torch.equal(value, again[name]), name
    with safe_open(tmp_path / "checkpoint" / ADAPTERS_NAME, framework="pt") as opened:
        assert torch.equal(opened.get_tensor("head"), head_CD)
        assert AdaptersCard.model_validate_json(opened.metadata()["carot"]).adapters == spec

    module = open_clip.create_model(f"local-dir:{tmp_path / 'checkpoint'}").eval()
    images, tokens = torch.randn(4, 3, 32, 32), model.tokenize(["a cat", "a dog"])
    for own, other in (
        (model.encode_images(images), module.encode_image(images)),
        (model.encode_captions(tokens), module.encode_text(tokens)),
    ):
        unit = nn.functional.normalize(other, dim=-1)
        torch.testing.assert_close(own, unit, rtol=0, atol=1e-5)


def test_a_point_between_start_and_end_has_adapters_too(tmp_path: Path) -> None:
    spec = LoraSpec(rank=2)
    start = tiny_model().module.state_dict()
    model = shaken(tiny_model(), spec)
    end = merged(model.module).state_dict()
    between = {name: torch.lerp(start[name], end[name], 0.25) for name in start}
    plain = tiny_model()
    plain.module.load_state_dict(between)
    tmp_path.joinpath("a").mkdir()
    Adapters.of(model.module, card(model, spec)).scaled(0.25).save(
        tmp_path / "a", plain.module, None
    )
    found = with_adapters(tiny_model(), tmp_path / "a").module.state_dict()
    for name, value in between.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not an adapter file"):
        with_adapters(tiny_model(), tmp_path / "nothing.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not an adapter file"):
        with_adapters(tiny_model(), tmp_path / "other.safetensors")
    model = shaken(tiny_model(), LoraSpec(rank=2))
    about = card(model, LoraSpec(rank=4))
    Adapters.of(model.module, about).save(tmp_path, merged(model.module), None)
    with pytest.raises(CheckpointError, match="do not fit tiny"):
        with_adapters(tiny_model(), tmp_path)
    about = card(model, LoraSpec(rank=99))
    Adapters.of(model.module, about).save(tmp_path, merged(model.module), None)
    with pytest.raises(CheckpointError, match=r"of another model: adapters\.rank"):
        with_adapters(tiny_model(), tmp_path)


@pytest.mark.slow
def test_an_adapter_file_of_a_vit_b_32_is_small(tmp_path: Path) -> None:
    """At the default rank, with a head of a thousand classes: at most 2 % of the checkpoint."""
    model = from_config(B32, architecture="ViT-B-32")
    spec = LoraSpec()
    attach_adapters(model, spec, TOWERS)
    plain = merged(model.module)
    head_CD = torch.zeros(1000, 512)
    about = ClassifierCard(
        architecture="ViT-B-32", method="finetune", classes=tuple(map(str, range(1000))),
        caption_names=tuple(map(str, range(1000))), templates=("{}",), logit_scale=1.0,
        head="trained",
    )  # fmt: skip
    adapters = Adapters.of(model.module, card(model, spec))
    save_checkpoint(
        tmp_path / "checkpoint", model.with_module(plain), head_CD, about, None, adapters
    )
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "checkpoint").iterdir()}
    assert sizes[WEIGHTS_NAME] > 600e6
    assert sizes[ADAPTERS_NAME] <= 0.02 * sum(sizes.values())
