"""Classes that a request brings, through a real text tower."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from carot.errors import SpecError
from carot.models.checkpoints import ClassifierCard
from carot.models.prompts import Captions, zero_shot_head
from carot.models.vocabulary import MOST_CAPTIONS, Vocabularies
from tests.carot.tiny import tiny_model

TEMPLATES = ("a {}.", "one {} more")


def card(**changes: Any) -> ClassifierCard:
    given: dict[str, Any] = {
        "architecture": "tiny",
        "method": "zero_shot",
        "classes": ("a", "b"),
        "caption_names": ("a", "b"),
        "templates": TEMPLATES,
        "logit_scale": 7.0,
        "head": "text",
    }
    return ClassifierCard(**given | changes)


class Counting:
    """A model's captions, counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model = tiny_model()
        self.passes: list[int] = []
        encode = self.model.encode_captions

        def counted(tokens_UL: torch.Tensor) -> torch.Tensor:
            self.passes.append(len(tokens_UL))
            return encode(tokens_UL)

        monkeypatch.setattr(self.model, "encode_captions", counted)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


def test_the_head_is_the_one_that_prompts_make() -> None:
    model = tiny_model()
    made = Vocabularies(model, card()).of(["cat", "big_dog", "owl"])
    expected_KD = zero_shot_head(model, Captions(model, ["cat", "big dog", "owl"], TEMPLATES))
    assert torch.allclose(made.head_KD, 7.0 * expected_KD, atol=1e-5)
    assert made.names == ("cat", "big_dog", "owl")
    assert (made.templates, made.logit_scale, made.own_head) == (TEMPLATES, 7.0, "text")
    assert Vocabularies(model, card(head="trained")).of(["x", "y"]).own_head == "trained"


def test_ids_of_imagenet_are_called_by_their_names() -> None:
    model = tiny_model()
    made = Vocabularies(model, card()).of(["n01440764", "n01443537"])
    expected_KD = zero_shot_head(model, Captions(model, ["tench", "goldfish"], TEMPLATES))
    assert torch.allclose(made.head_KD, 7.0 * expected_KD, atol=1e-5)


def test_a_class_is_encoded_once_by_template(counting: Counting) -> None:
    made = Vocabularies(counting.model, card())
    first = made.of(["cat", "dog"])
    assert counting.passes == [4]
    again = made.of(["dog", "owl", "cat"])
    assert counting.passes == [4, 2]
    assert torch.equal(again.head_KD[[2, 0]], first.head_KD)
    made.of(["cat", "dog"], ["{}"])
    assert counting.passes == [4, 2, 2]


def test_passes_are_short(counting: Counting) -> None:
    Vocabularies(counting.model, card()).of([f"thing {i}" for i in range(100)])
    assert sum(counting.passes) == 200
    assert max(counting.passes) <= 64


def test_the_classes_used_last_stay(counting: Counting) -> None:
    made = Vocabularies(counting.model, card(), kept=2)
    made.of(["cat", "dog"])
    made.of(["cat", "owl"])
    assert counting.passes == [4, 2]
    made.of(["owl", "cat"])
    assert counting.passes == [4, 2]
    made.of(["dog", "cat"])
    assert counting.passes == [4, 2, 2]
    assert len(made.of([str(i) for i in range(9)]).head_KD) == 9


def test_many_threads_get_the_same() -> None:
    made = Vocabularies(tiny_model(), card(), kept=3)
    expected = made.of(["a", "b", "c", "d"]).head_KD
    found: list[torch.Tensor] = []

    def ask(turn: int) -> None:
        names = ["a", "b", "c", "d"]
        found.append(made.of(names[turn:] + names[:turn]).head_KD.roll(turn, 0))

    threads = [threading.Thread(target=ask, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for head_KD in found:
        assert torch.allclose(head_KD, expected, atol=1e-6)


def test_too_many_captions_are_refused(counting: Counting) -> None:
    names = [str(i) for i in range(MOST_CAPTIONS // 2 + 1)]
    with pytest.raises(SpecError, match="send fewer classes") as refused:
        Vocabularies(counting.model, card()).of(names)
    assert refused.value.field == "classes"
    assert counting.passes == []
