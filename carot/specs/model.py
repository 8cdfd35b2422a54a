"""The model that a run starts from."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from carot.specs.base import Spec


class ModelSpec(Spec):
    """The model to start from: exactly one of an architecture, a checkpoint or a folder."""

    architecture: str | None = Field(
        default=None,
        max_length=200,
        description="An open_clip architecture such as `ViT-B-16`, or `carot-mini`, bundled.",
    )
    pretrained: str | None = Field(
        default=None,
        max_length=200,
        description="An open_clip tag of that architecture such as `openai`. Not for `carot-mini`.",
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
        if self.pretrained is not None and self.architecture in (None, "carot-mini"):
            raise ValueError("pretrained goes with an open_clip architecture")
        if self.architecture not in (None, "carot-mini") and self.pretrained is None:
            raise ValueError(
                "an open_clip architecture needs `pretrained`, the tag of its weights: "
                "a model with random weights has nothing to fine-tune"
            )
        return self
