"""The models that a job can start from, and what each method does there."""

from __future__ import annotations

from importlib.util import find_spec

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.access.callers import JobsReader
from api.web.schemas import Page
from carot.models.catalogue import family, pairs
from carot.models.families import treatments

router = APIRouter(prefix="/architectures", tags=["jobs"])


class ArchitectureView(BaseModel):
    """An architecture with one of its published weights, as `model` of a job names them."""

    architecture: str
    pretrained: str | None = Field(description="The tag of its weights; null for bundled models.")
    image_tower: str
    tokenizer: str | None = Field(description="Of the Hugging Face hub; null for CLIP's own.")
    batch_norm: bool = Field(
        description="Whether it normalises over batches: with `training.accumulation_steps` above "
        "1 it then needs `training.freeze_batch_norm`."
    )
    attention: bool = Field(
        description="Whether its image tower has attention blocks, which `adapters` need."
    )
    available: bool = Field(
        description="Whether the packages that it needs are installed with this service."
    )
    methods: dict[str, str] = Field(description="By method: what trains, and what is left out.")


@router.get("")
def list_architectures(caller: JobsReader) -> Page[ArchitectureView]:
    """Every architecture with each of its weights. The list has one page."""
    return Page(data=[_view(name, tag) for name, tag in pairs()])


def installed(architecture: str) -> bool:
    """Whether the packages that an architecture needs are there."""
    return not family(architecture).needs_transformers or find_spec("transformers") is not None


def _view(name: str, tag: str | None) -> ArchitectureView:
    of_name = family(name)
    return ArchitectureView(
        architecture=name,
        pretrained=tag,
        image_tower=of_name.image_tower,
        tokenizer=of_name.tokenizer,
        batch_norm=of_name.batch_norm,
        attention=of_name.attention,
        available=installed(name),
        methods=treatments(of_name),
    )
