"""Image towers of timm's families with one narrow block, by names that open_clip builds from."""

from __future__ import annotations

from functools import partial
from typing import Any

from timm.models import eva, fastvit, swin_transformer, vitamin
from timm.models import vision_transformer_hybrid as hybrid
from timm.models._registry import register_model
from torch import nn

SIZE = 32


@register_model
def tiny_eva02(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    small = {"img_size": SIZE, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}
    shape = {"ref_feat_shape": (4, 4)}
    made: nn.Module = eva.eva02_base_patch16_clip_224(pretrained, **small, **shape, **kwargs)
    return made


@register_model
def tiny_pe_core(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    small = {"img_size": SIZE, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}
    shape = {"ref_feat_shape": (4, 4), "attn_pool_num_heads": 2}
    made: nn.Module = eva.vit_pe_core_tiny_patch16_384(pretrained, **small, **shape, **kwargs)
    return made


@register_model
def tiny_mobileclip_b(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    stem = hybrid.ConvStem(
        channels=(8, 8, 32), stride=(4, 2, 1), kernel_size=(4, 2, 1), padding=0, act_layer=nn.GELU
    )
    small = {"img_size": SIZE, "embed_dim": 32, "depth": 1, "num_heads": 2, "no_embed_class": True}
    made: nn.Module = hybrid._create_vision_transformer_hybrid(
        "vit_base_mci_224",
        backbone=stem,
        embed_args={"proj": False},
        pretrained=pretrained,
        **small,
        **kwargs,
    )
    return made


@register_model
def tiny_mobileclip_s(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    small = {
        "layers": (1, 1, 1, 1),
        "embed_dims": (8, 16, 32, 64),
        "pos_embs": (None, None, None, partial(fastvit.RepConditionalPosEnc, spatial_shape=(1, 1))),
    }
    made: nn.Module = fastvit.fastvit_mci0(pretrained, **small, **kwargs)
    return made


@register_model
def tiny_vitamin(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    stages = vitamin.VitCfg(
        embed_dim=(8, 16, 32),
        depths=(1, 1, 1),
        stem_width=8,
        conv_cfg=vitamin.VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6),
        head_type="1d",
    )
    small = {"img_size": SIZE, "embed_dim": 32, "depth": 1, "num_heads": 2, "embed_cfg": stages}
    made: nn.Module = vitamin.vitamin_small_224(pretrained, **small, **kwargs)
    return made


@register_model
def tiny_swin(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    depths: dict[str, Any] = {"depths": (1, 1), "num_heads": (1, 2)}
    small = {"img_size": SIZE, "window_size": 4, "embed_dim": 8} | depths
    made: nn.Module = swin_transformer.swin_tiny_patch4_window7_224(pretrained, **small, **kwargs)
    return made
