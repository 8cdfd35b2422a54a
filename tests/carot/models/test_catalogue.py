"""What is read from open_clip's files is what open_clip itself gives, and builds."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from carot.models.catalogue import architectures, family, pairs, similar, weights
from carot.models.families import treatments
from carot.models.projections import image_projection, text_projection

NO_MAPS = "without orthogonality and cross_norm"


def test_they_agree_with_open_clip() -> None:
    bundled = {"carot-mini", "carot-mini-fashion"}
    assert architectures() - bundled == set(open_clip.list_models())
    for name in open_clip.list_models():
        assert set(weights(name) or ()) == set(open_clip.list_pretrained_tags_by_model(name)), name
    assert set(pairs()) == {*((name, None) for name in bundled), *open_clip.list_pretrained()}


def test_names_without_published_weights_take_no_tag() -> None:
    assert weights("ViT-M-32") == frozenset()
    of_quick_gelu = {"dfn2b", "metaclip_400m", "metaclip_fullcc", "openai"}
    assert weights("ViT-B-16-quickgelu") == frozenset(of_quick_gelu)


def test_a_mistyped_name_gets_a_hint() -> None:
    assert "ViT-B-16" in similar("vit-b-16", architectures()) or similar("ViT-B16", architectures())
    assert "ViT-B-32" in similar("ViT-B-33", architectures())


@pytest.mark.parametrize(
    "name",
    [
        "ViT-B-32", "RN50", "ViT-B-16-SigLIP", "ViT-SO400M-16-SigLIP-i18n-256", "EVA02-B-16",
        "MobileCLIP-B", "MobileCLIP2-S0", "PE-Core-T-16-384", "ViTamin-S", "convnext_tiny",
        "convnext_large_d", "swin_base_patch4_window7_224", "coca_ViT-B-32", "ViT-L-14-CLIPA",
        "vit_medium_patch16_gap_256", "ViT-L-14-worldwide",
    ],
)  # fmt: skip
def test_a_family_is_what_open_clip_builds(name: str) -> None:
    """Built without memory for weights, and without any of them."""
    config = copy.deepcopy(open_clip.get_model_config(name))
    custom = config.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in config else None
    with torch.device("meta"):
        module = (kind or (open_clip.CustomTextCLIP if custom else open_clip.CLIP))(**config)
    found = family(name)
    assert found.image_map == (image_projection(module) is not None)
    assert found.text_map == (text_projection(module) is not None)
    assert found.batch_norm == any(isinstance(m, _BatchNorm) for m in module.modules())


def test_what_each_method_does_is_told() -> None:
    assert NO_MAPS in treatments(family("ViT-B-16-SigLIP"))["carot"]
    assert "refused" in treatments(family("ViT-B-16-SigLIP"))["lipsum_ft"]
    assert treatments(family("EVA02-B-16"))["carot"].endswith("all terms")
    assert treatments(family("nllb-clip-base"))["tracer"].endswith("all terms")
    assert family("roberta-ViT-B-32").needs_transformers
    assert not family("carot-mini").needs_transformers
