from __future__ import annotations

from typing import Any, get_args

import pytest

from carot.errors import SpecError
from carot.specs import (
    TRAINED_TOWERS,
    CarotMethod,
    FinetuneMethod,
    FinetuneSpec,
    LoraSpec,
    Method,
    TrainingOptions,
    complete_training,
    rate_warnings,
)
from carot.specs.parsing import parse_spec


def spec(**changes: Any) -> FinetuneSpec:
    document = {
        "kind": "finetune",
        "model": {"architecture": "carot-mini"},
        "dataset": "builtin:digits",
        **changes,
    }
    parsed = parse_spec(document)
    assert isinstance(parsed, FinetuneSpec)
    return parsed


def test_they_are_off_unless_asked_for() -> None:
    assert spec().adapters is None
    adapters = spec(adapters={}).adapters
    assert adapters is not None
    assert (adapters.kind, adapters.rank, adapters.alpha) == ("lora", 8, 16.0)
    assert adapters.targets == ("query", "key", "value", "output")
    assert adapters.towers == ("image", "text")


def test_every_method_says_which_towers_it_trains() -> None:
    union = get_args(get_args(Method)[0])
    assert {each.model_fields["name"].default for each in union} == set(TRAINED_TOWERS)


@pytest.mark.parametrize("name", sorted(TRAINED_TOWERS))
def test_every_method_that_trains_a_tower_takes_them(name: str) -> None:
    if TRAINED_TOWERS[name]:
        assert spec(method={"name": name}, adapters={"rank": 4}).adapters is not None
        return
    with pytest.raises(SpecError, match=f"{name} trains no tower") as caught:
        spec(method={"name": name}, adapters={"rank": 4})
    assert caught.value.field == "adapters"


@pytest.mark.parametrize(
    ("adapters", "field", "message"),
    [
        ({"rank": 0}, "adapters.rank", "greater than or equal to 1"),
        ({"rank": 300}, "adapters.rank", "less than or equal to 256"),
        ({"rank": True}, "adapters.rank", "integer"),
        ({"alpha": 0}, "adapters.alpha", "greater than 0"),
        ({"kind": "dora"}, "adapters.kind", "lora"),
        ({"targets": []}, "adapters.targets", "at least 1"),
        ({"targets": ["mlp"]}, "adapters.targets.0", "'query', 'key', 'value' or 'output'"),
        ({"targets": ["key", "key"]}, "adapters.targets", "twice"),
        ({"towers": ["audio"]}, "adapters.towers.0", "'image' or 'text'"),
        ({"lr": 1}, "adapters.lr", ""),
    ],
)
def test_a_mistake_is_named(adapters: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(adapters=adapters)
    assert caught.value.field == field
    assert message in caught.value.message


def test_a_tower_that_the_method_leaves_alone_is_none_to_adapt() -> None:
    with pytest.raises(SpecError, match="finetune trains the image tower alone") as caught:
        spec(method={"name": "finetune"}, adapters={"towers": ["text"]})
    assert caught.value.field == "adapters"
    assert LoraSpec().adapted(FinetuneMethod()) == ("image",)
    assert LoraSpec(towers=("text",)).adapted(CarotMethod()) == ("text",)


def test_their_rate_is_higher_where_none_is_said() -> None:
    options, method, lora = TrainingOptions(), CarotMethod(), LoraSpec()
    full = complete_training(options, method, "ViT-B-16", 1000)
    made = complete_training(options, method, "ViT-B-16", 1000, adapters=lora)
    assert made.learning_rate > 2 * full.learning_rate
    assert made.model_copy(update={"learning_rate": full.learning_rate}) == full
    assert rate_warnings(made, method, "ViT-B-16", adapters=lora) == []
    slow = made.model_copy(update={"learning_rate": full.learning_rate / 10})
    [warning] = rate_warnings(slow, method, "ViT-B-16", adapters=lora)
    assert "method carot and adapters" in warning.message
    said = TrainingOptions(learning_rate=3e-6)
    assert complete_training(said, method, "ViT-B-16", 9, adapters=lora).learning_rate == 3e-6
