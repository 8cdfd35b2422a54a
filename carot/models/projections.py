"""The last linear map of each tower, wherever a family of models has it.

Shape suffixes: D embedding width, W the width before a projection.
"""

from __future__ import annotations

from torch import Tensor, nn

IMAGE_PATHS = ("attnpool.c_proj", "head.proj", "head.mlp.fc2", "head.pool.proj")
"""Below `visual`: ResNet with attention pooling, and what open_clip puts behind a timm trunk."""


def image_projection(module: nn.Module) -> Tensor | None:
    """The image tower's last linear map, of shape (W, D): features are `x @ projection`.

    None where the tower ends in something else, as SigLIP's does in attention pooling.
    """
    visual = module.get_submodule("visual")
    projection = getattr(visual, "proj", None)
    if isinstance(projection, Tensor) and projection.ndim == 2:
        return projection
    layers = [_submodule(visual, path) for path in IMAGE_PATHS]
    trunk = getattr(visual, "trunk", None)
    classifier = getattr(trunk, "get_classifier", None)
    if callable(classifier):
        # EVA, PE-Core, MobileCLIP: the trunk's own classifier is the projection.
        layers.append(classifier())
    return next((layer.weight.t() for layer in layers if isinstance(layer, nn.Linear)), None)


def text_projection(module: nn.Module) -> Tensor | None:
    """The text tower's last linear map, of shape (W, D); None where it has none."""
    tower = module if hasattr(module, "text_projection") else module.get_submodule("text")
    projection = getattr(tower, "text_projection", None)
    if projection is None:
        projection = getattr(tower, "proj", None)  # a tower of Hugging Face's
    if isinstance(projection, nn.Sequential):
        projection = projection[-1]
    if isinstance(projection, nn.Linear):
        return projection.weight.t()
    return projection if isinstance(projection, Tensor) else None


def _submodule(root: nn.Module, path: str) -> nn.Module | None:
    module: nn.Module | None = root
    for part in path.split("."):
        module = dict(module.named_children()).get(part) if module is not None else None
    return module
