"""Routes for presets."""

from __future__ import annotations

from fastapi import APIRouter

from api.access.callers import JobsReader
from api.presets.schemas import PresetView
from api.web.schemas import Page
from carot.specs import FinetuneSpec, preset, preset_names
from store.errors import NotFound

router = APIRouter(prefix="/presets", tags=["presets"])


@router.get("")
def list_presets(caller: JobsReader) -> Page[PresetView]:
    """Every preset, by name. There are few: the list has one page."""
    return Page(data=[view(name) for name in preset_names()])


@router.get("/{name}")
def get_preset(name: str, caller: JobsReader) -> PresetView:
    """One preset: method and training constants by one word."""
    if name not in preset_names():
        raise NotFound("preset", ascii(name[:100])[1:-1])
    return view(name)


def view(name: str) -> PresetView:
    """A recipe as the API shows it."""
    # What a model or a data set is has no influence on these sections.
    said = {"preset": name, "model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
    spec = FinetuneSpec.model_validate(said).model_dump(mode="json")
    filled = {section: spec[section] for section in ("method", "training", "selection")}
    return PresetView.model_validate({"name": name, **preset(name), "filled": filled})
