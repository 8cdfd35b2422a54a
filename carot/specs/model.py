"""The model that a run starts from."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, model_validator

from carot.specs.base import Spec

HUB = "hf-hub:"
HUB_NAME = re.compile(r"hf-hub:[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""A repository of the Hugging Face hub in open_clip's layout, by owner and name."""
BUNDLED = ("carot-mini", "carot-mini-fashion")
"""Small models that come with the project: one of digits and one of clothes."""


class ModelSpec(Spec):
    """The model to start from: exactly one of an architecture, a checkpoint or a folder."""

    architecture: str | None = Field(
        default=None,
        max_length=200,
        description="An open_clip architecture such as `ViT-B-16`; `carot-mini` or "
        "`carot-mini-fashion`, bundled; or "
        "`hf-hub:owner/name`, a repository in open_clip's layout, weights included. "
        "`GET /architectures` lists the first two.",
    )
    pretrained: str | None = Field(
        default=None,
        max_length=200,
        description="An open_clip tag of that architecture such as `openai`; for no other model.",
    )
    checkpoint: str | None = Field(
        default=None, pattern=r"^ckpt_[0-9a-z]{26}$", description="The id of a stored checkpoint."
    )
    folder: str | None = Field(
        default=None, description="A local folder in open_clip's layout. Not accepted over HTTP."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [self.architecture, self.checkpoint, self.folder]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("give exactly one of architecture, checkpoint or folder")
        name = self.architecture
        has_weights = name is None or name in BUNDLED or name.startswith(HUB)
        if name is not None and name.startswith(HUB) and not HUB_NAME.fullmatch(name):
            raise ValueError("a repository of the hub is named as hf-hub:owner/name")
        if self.pretrained is not None and has_weights:
            raise ValueError("pretrained goes with an open_clip architecture")
        if self.pretrained is None and not has_weights:
            raise ValueError(
                "an open_clip architecture needs `pretrained`, the tag of its weights: "
                "a model with random weights has nothing to fine-tune"
            )
        return self
