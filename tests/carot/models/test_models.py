from __future__ import annotations

import copy
import json
from pathlib import Path

import open_clip
import pytest
import torch

from carot.errors import ModelError, ProjectionNotFound
from carot.models.checkpoints import ClassifierCard, save_checkpoint
from carot.models.classifier import Classifier
from carot.models.clip import cut_behind_longest, from_config, load_folder, load_model
from carot.models.prompts import Captions, zero_shot_head
from carot.specs import ModelSpec
from tests.carot.tiny import CONFIG, tiny_model

RESNET = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "patch_size": None},
    "text_cfg": CONFIG["text_cfg"],
}


def timm_config(proj: str, pool: str = "avg") -> dict:
    return {
        "embed_dim": 16,
        "vision_cfg": {
            "timm_model_name": "resnet10t",
            "timm_pool": pool,
            "timm_proj": proj,
            "image_size": 32,
        },
        "text_cfg": CONFIG["text_cfg"],
    }


def test_cut_tokens_give_the_same_text_features() -> None:
    model = tiny_model()
    tokens = model.tokenize(["a cat", "a photo of a very long sentence here", "dog"])
    assert cut_behind_longest(tokens).shape[1] < tokens.shape[1]
    full = torch.nn.functional.normalize(model.module.encode_text(tokens), dim=-1)
    torch.testing.assert_close(model.encode_captions(tokens), full, atol=1e-6, rtol=1e-5)


def test_custom_text_tower_is_cut_too() -> None:
    model = from_config({**copy.deepcopy(CONFIG), "custom_text": True})
    assert isinstance(model.module, open_clip.CustomTextCLIP)
    assert model._causal_text_tower() is model.module.text
    tokens = model.tokenize(["a cat", "a photo of a dog"])
    full = torch.nn.functional.normalize(model.module.encode_text(tokens), dim=-1)
    torch.testing.assert_close(model.encode_captions(tokens), full, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "width", "embed"),
    [
        (CONFIG, 32, 16),
        (RESNET, 128, 32),
        (timm_config("linear"), 512, 16),
        (timm_config("mlp"), 32, 16),
    ],
    ids=["vit", "resnet", "timm-linear", "timm-mlp"],
)
def test_projection_is_found_for_each_kind_of_tower(config: dict, width: int, embed: int) -> None:
    model = from_config(copy.deepcopy(config))
    projection = model.visual_projection()
    assert projection.shape == (width, embed)
    assert projection.requires_grad
    rows, columns = model.gram_projection().shape
    assert rows <= columns
    # It is the last map: scaling it scales the features.
    images = torch.rand(2, 3, 32, 32)
    before = model.module.encode_image(images)
    bias = {name: p for name, p in model.module.visual.named_parameters() if "bias" in name}
    with torch.no_grad():
        for name, parameter in bias.items():
            if name.startswith(("attnpool.c_proj", "head")):
                parameter.zero_()
        before = model.module.encode_image(images)
        projection.mul_(3.0)
        after = model.module.encode_image(images)
    torch.testing.assert_close(after, 3.0 * before, atol=1e-4, rtol=1e-4)


def test_a_narrow_tower_is_turned_so_that_its_gram_matrix_can_be_the_identity() -> None:
    config = copy.deepcopy(CONFIG)
    config["embed_dim"] = 64
    model = from_config(config)
    assert model.visual_projection().shape == (32, 64)
    assert model.gram_projection().shape == (32, 64)
    assert tiny_model().gram_projection().shape == (16, 32)


def test_a_tower_without_projection_says_so() -> None:
    model = from_config(timm_config("none"))
    with pytest.raises(ProjectionNotFound, match="no linear map"):
        model.visual_projection()


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"architecture": "ViT-Q-17", "pretrained": "openai"}, "model.architecture"),
        ({"architecture": "ViT-B-16", "pretrained": "nobody"}, "model.pretrained"),
        ({"folder": "/nowhere"}, "model.folder"),
    ],
)
def test_unknown_models_are_named(spec: dict, field: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(ModelSpec(**spec))
    assert caught.value.field == field


def test_a_torn_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_folder(tmp_path)


@pytest.mark.parametrize("config", [CONFIG, RESNET], ids=["vit", "resnet"])
def test_checkpoint_loads_in_plain_open_clip_with_the_same_logits(
    config: dict, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    model = from_config(copy.deepcopy(config))
    names, templates = ("cat", "dog"), ("a photo of a {}.", "{}")
    captions = Captions(model, names, templates)
    scale = model.logit_scale.detach().exp()
    head = scale * zero_shot_head(model, captions)
    card = ClassifierCard(
        architecture="tiny",
        method="flyp",
        classes=names,
        caption_names=names,
        templates=templates,
        logit_scale=float(scale),
        head="text",
    )
    save_checkpoint(tmp_path / "checkpoint", model, head, card, None)
    images = torch.rand(3, 3, 32, 32)
    ours = Classifier.load(tmp_path / "checkpoint", device="cpu").logits_of(images)

    identifier = f"local-dir:{tmp_path / 'checkpoint'}"
    plain, _, _ = open_clip.create_model_and_transforms(identifier)
    tokenizer = open_clip.get_tokenizer(identifier)
    plain.eval()
    with torch.no_grad():
        prototypes = []
        for name in names:
            text = plain.encode_text(tokenizer([t.format(name) for t in templates]), normalize=True)
            prototypes.append(torch.nn.functional.normalize(text.mean(0), dim=-1))
        features = plain.encode_image(images, normalize=True)
        theirs = plain.logit_scale.exp() * features @ torch.stack(prototypes).t()
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_template_cannot_reach_into_objects() -> None:
    model = tiny_model()
    captions = Captions(model, ("cat",), ("{} {0.__class__}",))
    assert torch.equal(captions.tokens_UL, model.tokenize(["cat {0.__class__}"]))
