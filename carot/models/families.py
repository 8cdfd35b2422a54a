"""What families of models have and lack, and what each method does there; without torch.

Read from open_clip's configuration of a model, so that it can be said before anything is
downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carot.warnings import CodedWarning

NORMALISED = ("efficientnet", "fastvit", "mobilenet", "resnet", "vit_base_mci")
"""Trunks of timm with batch normalisation, as their names begin."""
ATTENTION_POOLS = ("abs_attn", "rot_attn")
"""Pools that open_clip puts behind a trunk, and that end in a linear map."""
CONVOLUTIONAL = ("convnext", "efficientnet", "mobilenet", "resnet")
"""Trunks of timm without attention blocks, as their names begin."""


@dataclass(frozen=True)
class Family:
    """What a method may ask of a model.

    Attributes:
        image_tower: its name in timm, or `ViT` or `ResNet` of open_clip.
        tokenizer: the name of one of Hugging Face's; None for CLIP's own.
        text_model: the name of a text tower of Hugging Face's; None for open_clip's own.
        image_map: whether the image tower ends in a linear map.
        text_map: whether the text tower does.
        batch_norm: whether it normalises over batches.
        attention: whether the image tower has attention blocks, beyond one that pools.
    """

    image_tower: str
    tokenizer: str | None
    text_model: str | None
    image_map: bool
    text_map: bool
    batch_norm: bool
    attention: bool

    @property
    def needs_transformers(self) -> bool:
        """Whether captions or the text tower take the package `transformers`."""
        return self.tokenizer is not None or self.text_model is not None


def family_of(model_cfg: Mapping[str, Any]) -> Family:
    """The family of a model, from open_clip's configuration of it."""
    vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
    trunk = vision.get("timm_model_name")
    is_resnet = trunk is None and isinstance(vision.get("layers"), list)
    pooled = vision.get("timm_pool", "avg") in ATTENTION_POOLS
    if text.get("hf_model_name"):
        text_map = text.get("hf_proj_type", "mlp") is not None
    else:
        text_map = text.get("proj_type", "linear") != "none"
    return Family(
        image_tower=trunk or ("ResNet" if is_resnet else "ViT"),
        tokenizer=text.get("hf_tokenizer_name") or None,
        text_model=text.get("hf_model_name") or None,
        image_map=trunk is None or vision.get("timm_proj", "linear") != "none" or pooled,
        text_map=text_map,
        batch_norm=is_resnet or (trunk is not None and trunk.startswith(NORMALISED)),
        attention=not (is_resnet or (trunk is not None and trunk.startswith(CONVOLUTIONAL))),
    )


def terms_left_out(
    name: str, orthogonality_weight: float, cross_norm_weight: float, *, image: bool, text: bool
) -> CodedWarning | None:
    """What is said where constraints are asked for that need linear maps which are not there.

    Both need the map that the image tower ends in, cross-norm the text tower's as well. Some towers
    have none (SigLIP's ends in attention pooling), and then there is nothing to constrain.

    Args:
        name: of the model.
        image: whether the image tower ends in a linear map.
        text: whether the text tower does.
    """
    asked = {"orthogonality": orthogonality_weight > 0, "cross_norm": cross_norm_weight > 0}
    possible = {"orthogonality": image, "cross_norm": image and text}
    names = tuple(term for term, wanted in asked.items() if wanted and not possible[term])
    if not names:
        return None
    towers = " and ".join(tower for tower, ends in (("image", image), ("text", text)) if not ends)
    message = f"{name}: its {towers} tower ends in no linear map, so the loss is without " + (
        " and ".join(names)
    )
    return CodedWarning(code="terms_left_out", message=message, names=names)


def without_attention(name: str, tower: str) -> str:
    """The sentence with which adapters are refused in a tower without attention blocks."""
    others = {"image": "text", "text": "image"}
    return (
        f"{name}: its {tower} tower has no attention blocks to adapt; set adapters.towers to "
        f'["{others[tower]}"], where the method trains that tower, or leave adapters out'
    )


def treatments(family: Family) -> dict[str, str]:
    """What each method does with such a model, by the method's name, in a few words."""
    lacking = [
        *([] if family.image_map else ["orthogonality"]),
        *([] if family.image_map and family.text_map else ["cross_norm"]),
    ]
    without = f"without {' and '.join(lacking)}" if lacking else "all terms"
    tower = "image tower and head; text tower and logit scale stay"
    return {
        "zero_shot": "trains nothing",
        "linear_probe": "head; both towers stay",
        "finetune": tower,
        "lp_ft": tower,
        "lipsum_ft": tower if family.tokenizer is None else "refused: not CLIP's own tokenizer",
        "function_space": tower,
        "flyp": "both towers",
        "label_smoothing": "both towers",
        "dive": "both towers",
        "carot": f"both towers, {without}",
        "tracer": f"both towers, {without}",
    }
