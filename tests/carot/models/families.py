"""Tiny models of each family, with random weights, as folders in open_clip's layout."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

import tests.carot.models.tiny_trunks  # noqa: F401  # registers them
from carot.models.checkpoints import unshared

WORDS = ("[PAD]", "</s>", "[UNK]", "a", "photo", "of", "bright", "dark", ".")
CLIP_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
HF_TEXT = CLIP_TEXT | {"vocab_size": 16, "hf_tokenizer_name": "somebody/words"}
NO_CAUSAL = {"no_causal_mask": True, "pool_type": "last"}
VIT = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}


def trunk(name: str, **config: Any) -> dict[str, Any]:
    """An image tower of timm."""
    return {"image_size": 32, "timm_model_name": name} | config


@dataclass(frozen=True)
class Tiny:
    """A family's tiny model.

    Attributes:
        config: beside the towers.
        text_model: the kind and the constants of a text tower of Hugging Face's.
    """

    vision: dict[str, Any]
    text: dict[str, Any] = field(default_factory=lambda: dict(CLIP_TEXT))
    config: dict[str, Any] = field(default_factory=dict)
    text_model: dict[str, Any] | None = None
    scale: float = 1 / 0.07


# Under a name that timm itself knows: its checkpoints are loaded in processes without our own.
SIGLIP = trunk("test_vit", timm_pool="map", timm_proj="none", image_size=160)
BERT_LIKE = {
    "vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 32, "pad_token_id": 0,
}  # fmt: skip
CUSTOM = {"custom_text": True}
FAMILIES: dict[str, Tiny] = {
    "CLIP ViT": Tiny(VIT),
    "CLIP ResNet": Tiny({"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}),
    "CoCa": Tiny(
        VIT | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        CLIP_TEXT | {"embed_cls": True, "output_tokens": True},
        CUSTOM | {"multimodal_cfg": CLIP_TEXT | {"attn_pooler_heads": 2, "dim_head": 8}},
    ),
    "ConvNeXt": Tiny(trunk("test_convnext", timm_pool="", timm_proj="linear")),
    "Swin": Tiny(trunk("tiny_swin", timm_pool="", timm_proj="linear")),
    "EVA02": Tiny(trunk("tiny_eva02", timm_pool="token", timm_proj=None), config=CUSTOM),
    "PE-Core": Tiny(trunk("tiny_pe_core", timm_pool="map", timm_proj=None), config=CUSTOM),
    "MobileCLIP-B": Tiny(
        trunk("tiny_mobileclip_b", timm_pool="token", timm_proj=None), config=CUSTOM
    ),
    "MobileCLIP-S (FastViT)": Tiny(
        trunk("tiny_mobileclip_s", timm_pool="avg", timm_proj=None),
        CLIP_TEXT | {"no_causal_mask": True},
        CUSTOM,
    ),
    "ViTamin": Tiny(trunk("tiny_vitamin", timm_pool="", timm_proj="linear"), config=CUSTOM),
    "SigLIP": Tiny(
        SIGLIP,
        HF_TEXT | NO_CAUSAL | {"tokenizer_kwargs": {"clean": "canonicalize"}, "proj_bias": True},
        CUSTOM | {"init_logit_bias": -10.0, "embed_dim": 64},
        scale=112.33,
    ),
    "CLIPA": Tiny(
        VIT | {"pool_type": "avg", "no_ln_pre": True},
        HF_TEXT | NO_CAUSAL | {"tokenizer_kwargs": {"strip_sep_token": True}},
    ),
    "MetaCLIP 2 worldwide": Tiny(VIT, HF_TEXT | {"pool_type": "eos", "eos_id": 1}),
    "XLM-RoBERTa": Tiny(
        VIT,
        HF_TEXT | {"hf_model_name": "…", "hf_pooler_type": "mean_pooler"},
        text_model={"model_type": "xlm-roberta"} | BERT_LIKE,
    ),
    "mT5": Tiny(
        VIT,
        HF_TEXT | {"hf_model_name": "…", "hf_pooler_type": "mean_pooler"},
        text_model={
            "model_type": "mt5", "vocab_size": 16, "d_model": 16, "d_kv": 8, "d_ff": 16,
            "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "pad_token_id": 0,
        },
    ),
    "NLLB-CLIP (SigLIP)": Tiny(
        SIGLIP,
        HF_TEXT
        | {"hf_model_name": "…", "hf_proj_type": "linear", "hf_pooler_type": "cls_pooler"},
        {"init_logit_bias": -10.0, "embed_dim": 64},
        text_model={
            "model_type": "m2m_100", "vocab_size": 16, "d_model": 16, "encoder_layers": 1,
            "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
            "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "pad_token_id": 0,
            "max_position_embeddings": 32,
        },
    ),
}  # fmt: skip


def write_family(name: str, folder: Path) -> Path:
    """The family's tiny model as somebody publishes it."""
    tiny = FAMILIES[name]
    folder.mkdir(parents=True)
    text = dict(tiny.text)
    if text.get("hf_tokenizer_name"):
        write_tokenizer(folder)
    if tiny.text_model is not None:
        (folder / "config.json").write_text(json.dumps(tiny.text_model))
        text["hf_model_name"] = str(folder)
    config = {"embed_dim": 16, "vision_cfg": tiny.vision, "text_cfg": text, **tiny.config}
    document = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    torch.manual_seed(0)
    module = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
    with torch.no_grad():
        module.logit_scale.fill_(math.log(tiny.scale))
    save_file(unshared(module.state_dict()), folder / "open_clip_model.safetensors")
    return folder


def write_tokenizer(folder: Path, words: tuple[str, ...] = WORDS) -> None:
    """A tokenizer of Hugging Face's that knows some words, and ends a text with `</s>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {word: number for number, word in enumerate(words)}
    raw = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", ids["</s>"])]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "</s>"}
    made: Any = PreTrainedTokenizerFast
    made(tokenizer_object=raw, sep_token="</s>", **special).save_pretrained(folder)
