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
    return _matrix(image_map(module))


def text_projection(module: nn.Module) -> Tensor | None:
    """The text tower's last linear map, of shape (W, D); None where it has none."""
    return _matrix(text_map(module))


def image_map(module: nn.Module) -> nn.Linear | Tensor | None:
    """What holds the image tower's last linear map: a layer, or the matrix itself."""
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
    return next((layer for layer in layers if isinstance(layer, nn.Linear)), None)


def text_map(module: nn.Module) -> nn.Linear | Tensor | None:
    """What holds the text tower's last linear map."""
    tower = module if hasattr(module, "text_projection") else module.get_submodule("text")
    projection = getattr(tower, "text_projection", None)
    if projection is None:
        projection = getattr(tower, "proj", None)  # a tower of Hugging Face's
    if isinstance(projection, nn.Sequential):
        projection = projection[-1]
    return projection if isinstance(projection, nn.Linear | Tensor) else None


def _matrix(found: nn.Linear | Tensor | None) -> Tensor | None:
    return found.weight.t() if isinstance(found, nn.Linear) else found


def _submodule(root: nn.Module, path: str) -> nn.Module | None:
    module: nn.Module | None = root
    for part in path.split("."):
        module = dict(module.named_children()).get(part) if module is not None else None
    return module
