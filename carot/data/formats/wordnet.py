"""ImageNet's 1,000 classes: their WordNet ids, and what CLIP calls them in captions.

The ids come from timm, names and templates from open_clip; both are loaded when first asked for,
as they bring torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

WORDNET_ID = re.compile(r"n\d{8}")


@cache
def imagenet_ids() -> tuple[str, ...]:
    """The WordNet ids (`n01440764` …) in the order of ImageNet's class indices."""
    from timm.data.imagenet_info import ImageNetInfo

    return tuple(map(str, ImageNetInfo().label_names()))


@cache
def imagenet_index() -> dict[str, int]:
    """The class index of each WordNet id."""
    return {name: index for index, name in enumerate(imagenet_ids())}


def are_imagenet(classes: Sequence[str]) -> bool:
    """Whether these are classes, and all of them WordNet ids of ImageNet's 1,000."""
    # The pattern first: most data sets are told apart without loading anything.
    if not classes or not all(WORDNET_ID.fullmatch(name) for name in classes):
        return False
    return set(classes) <= set(imagenet_ids())


@cache
def imagenet_names() -> dict[str, str]:
    """What captions call each WordNet id: the names that OpenAI published with CLIP."""
    import open_clip

    return dict(zip(imagenet_ids(), open_clip.IMAGENET_CLASSNAMES, strict=True))


@cache
def imagenet_templates() -> tuple[str, ...]:
    """The 80 caption templates that OpenAI published with CLIP, with a `{}` each."""
    import open_clip

    return tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
