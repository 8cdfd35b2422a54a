from __future__ import annotations

from typing import Any, Literal

import pytest
import yaml
from pydantic import ValidationError

from carot.specs import CarotMethod, FinetuneSpec, TracerMethod, preset, preset_names
from carot.specs.presets import DEFAULT, SECTIONS

BASE = {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}


def spec(**fields: object) -> FinetuneSpec:
    return FinetuneSpec.model_validate({**BASE, **fields})


@pytest.mark.parametrize("name", preset_names())
def test_every_recipe_is_a_job_by_one_word(name: str) -> None:
    recipe = preset(name)
    assert set(recipe) <= {"description", "source", *SECTIONS}
    assert recipe["description"].strip()
    assert recipe["source"].strip()
    model = {} if "model" in recipe else {"model": BASE["model"]}
    made = FinetuneSpec.model_validate({"dataset": "builtin:digits", "preset": name, **model})
    assert made.preset == name
    # Written down and read again it is the same job, whatever becomes of the recipe.
    assert FinetuneSpec.model_validate_json(made.model_dump_json()) == made


def test_what_a_job_says_goes_before_its_preset() -> None:
    made = spec(
        preset="carot-imagenet-vit-b16", method={"orthogonality_weight": 0.5, "name": "carot"}
    )
    assert isinstance(made.method, CarotMethod)
    assert made.method.orthogonality_weight == 0.5
    assert made.method.orthogonality_form == "unsquared"
    assert made.model.architecture == "carot-mini"
    assert made.training.precision == "fp16"


def test_the_published_constants() -> None:
    carot = FinetuneSpec.model_validate({"dataset": "ds", "preset": "carot-imagenet-vit-b16"})
    assert isinstance(carot.method, CarotMethod)
    assert (carot.method.distillation_weight, carot.method.orthogonality_weight) == (1.5, 0.2)
    assert carot.method.positives == "pair"
    assert carot.method.teacher.update_every == 500
    assert (carot.training.learning_rate, carot.training.weight_decay) == (1e-5, 0.1)
    assert (carot.training.batch_size, carot.training.epochs) == (512, 10)
    tracer = FinetuneSpec.model_validate({"dataset": "ds", "preset": "tracer-imagenet-rn50"})
    assert isinstance(tracer.method, TracerMethod)
    assert tracer.method.feature_weight == 200
    assert tracer.training.learning_rate == 9e-6
    assert tracer.model.architecture == "RN50"


def test_without_method_and_preset_a_job_gets_the_default() -> None:
    assert spec() == spec(preset=DEFAULT)
    assert spec(method={"name": "flyp"}).preset is None


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(ValidationError) as caught:
        spec(preset="../secrets")
    [error] = caught.value.errors()
    assert error["loc"] == ("preset",)
    assert "carot-paper" in error["msg"]


@pytest.mark.parametrize("name", ["of-last-year", "flyp"])
@pytest.mark.parametrize("mode", ["json", "python"])
def test_a_whole_spec_outlives_its_preset(name: str, mode: Literal["json", "python"]) -> None:
    # The preset was deleted, or is for another method now.
    for made in (spec(preset="carot-paper", training={"epochs": 7}), spec(preset="tracer")):
        document = made.model_dump(mode=mode) | {"preset": name}
        assert FinetuneSpec.model_validate(document) == made.model_copy(update={"preset": name})


@pytest.mark.parametrize(
    "place",
    [
        "method",
        "training",
        "selection",
        "training.epochs",
        "selection.split",
        "method.teacher.beta",
    ],
)
def test_a_spec_that_lacks_anything_needs_its_preset(place: str) -> None:
    document: dict[str, Any] = spec(preset="carot-paper").model_dump(mode="json")
    *parents, last = place.split(".")
    part = document
    for parent in parents:
        part = part[parent]
    del part[last]
    FinetuneSpec.model_validate(document)
    with pytest.raises(ValidationError) as caught:
        FinetuneSpec.model_validate(document | {"preset": "of-last-year"})
    assert [error["loc"] for error in caught.value.errors()] == [("preset",)]


def test_a_preset_of_another_method() -> None:
    with pytest.raises(ValidationError) as caught:
        spec(preset="carot-paper", method={"name": "flyp"})
    [error] = caught.value.errors()
    assert error["loc"] == ("method", "name")


def test_recipes_are_plain_data() -> None:
    for name in preset_names():
        assert yaml.safe_load(yaml.safe_dump(dict(preset(name)))) == dict(preset(name))
