"""A CLIP-like model with all that belongs to it: towers, tokenizer, transform, configuration.

Shape suffixes: N images, U captions, L tokens, D embedding width, R rows and C columns of a
projection, W the width before a projection.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transformer import TextTransformer, text_global_pool
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from carot.data.crops import INTERPOLATIONS, Resizing
from carot.errors import ModelError, ProjectionNotFound
from carot.models.families import family_of
from carot.models.hugging_face import require_transformers, with_own_text_config
from carot.models.mini import MODEL_FOLDERS
from carot.models.projections import image_projection, text_projection
from carot.models.tokenizers import LOCAL, Tokenizer
from carot.specs import HUB, ModelSpec

CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAME = "open_clip_model.safetensors"
WEIGHTS_NAMES = (
    WEIGHTS_NAME, "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
)  # fmt: skip
"""Weights that a folder may hold, in open_clip's order. Of a `.bin` only tensors are read."""
MAX_LOG_SCALE = math.log(100.0)
"""CLIP's clamp of the learned log scale, so that logits are at most 100 times a cosine."""


@dataclass
class ClipModel:
    """An open_clip model and what is needed to feed it and to write it down again.

    Attributes:
        module: the towers; features come out unnormalised from them.
        tokenize: captions -> token ids of shape (U, L), int64; made when first asked.
        transform: an RGB image -> a tensor of shape (3, H, W), as evaluation sees it.
        model_cfg: open_clip's model configuration, JSON-ready.
        preprocess_cfg: open_clip's preprocessing configuration, JSON-ready.
    """

    module: nn.Module
    tokenize: Tokenizer
    transform: Callable[[Image.Image], Tensor]
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    architecture: str

    @property
    def device(self) -> torch.device:
        return self.logit_scale.device

    @property
    def logit_scale(self) -> nn.Parameter:
        """The learned parameter s; logits are exp(s) times cosines."""
        return self.module.get_parameter("logit_scale")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that the image tower expects, in pixels."""
        size = self.preprocess_cfg["size"]
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))

    @property
    def resizing(self) -> Resizing:
        """How an image of any shape becomes the image tower's input."""
        cfg = self.preprocess_cfg
        return Resizing(
            self.image_size,
            cfg.get("resize_mode") or "shortest",
            INTERPOLATIONS.get(cfg.get("interpolation") or "bicubic", INTERPOLATIONS["bicubic"]),
            cfg.get("fill_color") or 0,
        )

    def with_module(self, module: nn.Module) -> ClipModel:
        """The same model with another set of weights, such as a teacher's."""
        return replace(self, module=module)

    def encode_images(self, images_NCHW: Tensor) -> Tensor:
        """Unit-length image features of shape (N, D), in float32."""
        return F.normalize(self.module.encode_image(images_NCHW).float(), dim=-1)  # type: ignore[operator]

    def encode_captions(self, tokens_UL: Tensor) -> Tensor:
        """Unit-length text features of shape (U, D), in float32.

        The tower runs on tokens cut behind the longest end-of-text: under causal attention no
        position sees a later one, so the cut changes nothing but the cost.
        """
        tower = self._causal_text_tower()
        if tower is None:
            features_UD = self.module.encode_text(tokens_UL)  # type: ignore[operator]
        else:
            features_UD = _encode_text(tower, cut_behind_longest(tokens_UL))
        return F.normalize(features_UD.float(), dim=-1)

    def _causal_text_tower(self) -> open_clip.CLIP | TextTransformer | None:
        """The text tower where it is causal and reads its feature at the end-of-text, else None."""
        tower = getattr(self.module, "text", self.module)
        if not isinstance(tower, open_clip.CLIP | TextTransformer):
            return None
        if tower.attn_mask is None or getattr(tower, "cls_emb", None) is not None:
            return None
        return tower if _pool_type(tower) == "argmax" else None

    def visual_projection(self) -> Tensor:
        """The image tower's last linear map, of shape (W, D): features are `x @ projection`.

        Raises:
            ProjectionNotFound: the tower ends in something else.
        """
        projection = image_projection(self.module)
        if projection is None:
            raise ProjectionNotFound(f"{self.architecture}: its image tower ends in no linear map")
        return projection

    def gram_projection(self) -> Tensor:
        """The visual projection turned so that rows <= columns: shape (R, C).

        Only then can the Gram matrix of the rows be the identity (CaRot eq. 4 writes W'W for the
        768 x 512 projection of ViT-B/16, which is the Gram matrix of the 512 rows here).
        """
        projection_WD = self.visual_projection()
        rows, columns = projection_WD.shape
        return projection_WD if rows <= columns else projection_WD.t()

    def text_projection(self) -> Tensor:
        """The text tower's last linear map, of shape (W, D).

        Raises:
            ProjectionNotFound: the text tower has none.
        """
        projection = text_projection(self.module)
        if projection is None:
            raise ProjectionNotFound(f"{self.architecture}: its text tower ends in no linear map")
        return projection

    def clamp_logit_scale(self, start: float) -> None:
        """Keep the log scale within [0, ln 100], as CLIP does after each step.

        Args:
            start: the log scale that training started from; where it lies outside (released
                SigLIP weights have a scale of 112), the range reaches to it.
        """
        with torch.no_grad():
            self.logit_scale.clamp_(min(0.0, start), max(MAX_LOG_SCALE, start))


def cut_behind_longest(tokens_UL: Tensor) -> Tensor:
    """Tokens without the columns behind the batch's longest end-of-text (the highest id)."""
    longest = int(tokens_UL.argmax(dim=-1).max()) + 1
    return tokens_UL[:, :longest]


def load_model(spec: ModelSpec, device: torch.device | str = "cpu") -> ClipModel:
    """The model that a spec names, in float32 and evaluation mode.

    Raises:
        ModelError: unknown architecture or tag, weights that cannot be fetched, a folder that is
            not in open_clip's layout; `field` says which field of the spec.
    """
    if spec.folder is not None:
        return load_folder(Path(spec.folder), device, field="model.folder")
    if spec.architecture in MODEL_FOLDERS:
        folder = MODEL_FOLDERS[spec.architecture]
        return load_folder(folder, device, architecture=spec.architecture)
    if spec.architecture is None:
        raise ModelError(
            "a stored checkpoint has to be fetched to a folder first", field="model.checkpoint"
        )
    if spec.architecture.startswith(HUB):
        return _from_hub(spec.architecture, device)
    return _published(spec.architecture.replace("/", "-"), spec.pretrained, device)


def _published(name: str, tag: str | None, device: torch.device | str) -> ClipModel:
    if name not in open_clip.list_models():
        raise ModelError(
            f"unknown architecture {name!r}; `carot models architectures` lists them",
            field="model.architecture",
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise ModelError(
            f"{name} has no weights {tag!r}; it has {', '.join(tags) or 'none'}",
            field="model.pretrained",
        )
    model_cfg = open_clip.get_model_config(name)
    # Weights trained with QuickGELU under a configuration without it lose accuracy silently.
    if (open_clip.get_pretrained_cfg(name, tag) or {}).get("quick_gelu", False):
        model_cfg["quick_gelu"] = True
    quick_gelu = bool(model_cfg.get("quick_gelu", False))
    return _fetched(
        name, model_cfg, device, f"{name} / {tag}", pretrained=tag, force_quick_gelu=quick_gelu
    )


def _from_hub(name: str, device: torch.device | str) -> ClipModel:
    try:
        model_cfg = open_clip.get_model_config(name)
    # The hub's client raises errors of its own, of its transport and of what is not there.
    except Exception as error:
        raise ModelError(f"{name}: {error}", field="model.architecture") from error
    return _fetched(name, model_cfg, device, name)


def _fetched(
    name: str,
    model_cfg: dict[str, Any],
    device: torch.device | str,
    said: str,
    **options: Any,
) -> ClipModel:
    """A model whose weights are downloaded; what is small and may be missing is asked for first."""
    if family_of(model_cfg).needs_transformers:
        require_transformers(said, "model.architecture")
    tokenize = Tokenizer(name, model_cfg["text_cfg"])
    try:
        tokenize.made()
        module, _, transform = open_clip.create_model_and_transforms(
            name, device=device, require_pretrained=True, **options
        )
    # As above; and whatever reading weights of unknown origin raises.
    except Exception as error:
        raise ModelError(f"{said}: {error}", field="model.pretrained") from error
    return _assemble(module, tokenize, transform, model_cfg, name)


def load_folder(
    folder: Path,
    device: torch.device | str = "cpu",
    *,
    architecture: str | None = None,
    field: str | None = None,
) -> ClipModel:
    """The model in a local folder of open_clip's layout: a configuration and weights.

    Raises:
        ModelError: a file is missing, torn, or does not fit the other, or a package is missing.
    """
    weights = next((name for name in WEIGHTS_NAMES if (folder / name).is_file()), WEIGHTS_NAME)
    for name in (CONFIG_NAME, weights):
        if not (folder / name).is_file():
            raise ModelError(f"{folder.name}: no {name} in it", field=field)
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        text_cfg = config["model_cfg"]["text_cfg"]
        if text_cfg.get("hf_model_name"):
            require_transformers(folder.name, field)
        with with_own_text_config(folder, config, weights) as opened:
            module, _, transform = open_clip.create_model_and_transforms(
                f"{LOCAL}{opened}", device=device
            )
    except ModelError:
        raise
    # open_clip wraps what goes wrong in any of several types; safetensors has one of its own.
    except Exception as error:
        raise ModelError(f"{folder.name}: cannot be loaded: {error}", field=field) from error
    name = architecture or str(config.get("architecture", folder.name))
    tokenize = Tokenizer(f"{LOCAL}{folder.resolve()}", text_cfg)
    return _assemble(module, tokenize, transform, config["model_cfg"], name)


def from_config(
    model_cfg: dict[str, Any], device: torch.device | str = "cpu", architecture: str = "custom"
) -> ClipModel:
    """A model with random weights from an open_clip configuration: for tests and pre-training."""
    with tempfile.TemporaryDirectory() as folder:
        config = {"model_cfg": model_cfg, "preprocess_cfg": {}}
        (Path(folder) / CONFIG_NAME).write_text(json.dumps(config), encoding="utf-8")
        identifier = f"{LOCAL}{folder}"
        module, _, transform = open_clip.create_model_and_transforms(identifier, device=device)
    tokenize = Tokenizer(identifier, model_cfg["text_cfg"])
    return _assemble(module, tokenize, transform, model_cfg, architecture)


def _assemble(
    module: nn.Module,
    tokenize: Tokenizer,
    transform: Callable[[Image.Image], Tensor],
    model_cfg: dict[str, Any],
    architecture: str,
) -> ClipModel:
    preprocess_cfg = dict(open_clip.get_model_preprocess_cfg(module))
    for key in ("size", "mean", "std"):
        if isinstance(preprocess_cfg.get(key), tuple):
            preprocess_cfg[key] = list(preprocess_cfg[key])
    module.eval()
    return ClipModel(module, tokenize, transform, model_cfg, preprocess_cfg, architecture)


def _encode_text(tower: open_clip.CLIP | TextTransformer, tokens_UL: Tensor) -> Tensor:
    """The tower's own forward pass, for any token length up to the context length."""
    length = tokens_UL.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    x_ULW = tower.token_embedding(tokens_UL).to(dtype)
    x_ULW = x_ULW + tower.positional_embedding[:length].to(dtype)
    x_ULW = tower.transformer(x_ULW, attn_mask=tower.attn_mask[:length, :length])
    pooled_UW: Tensor = text_global_pool(tower.ln_final(x_ULW), tokens_UL, _pool_type(tower))
    projection = tower.text_projection
    if projection is None:
        return pooled_UW
    features_UD: Tensor = (
        projection(pooled_UW) if isinstance(projection, nn.Linear) else pooled_UW @ projection
    )
    return features_UD


def _pool_type(tower: open_clip.CLIP | TextTransformer) -> str:
    return str(tower.text_pool_type if isinstance(tower, open_clip.CLIP) else tower.pool_type)
