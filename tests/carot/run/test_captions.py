"""What a run says of captions that came with its images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from carot.data.source import ArraySource
from carot.models.prompts import Captions, ImageCaptions
from carot.run.captions import caption_warnings, captions_for, cut_warnings
from carot.specs import Method, PromptSpec
from carot.training.methods import build_method
from tests.carot.tiny import tiny_model

METHOD: TypeAdapter[Any] = TypeAdapter(Method)


@pytest.mark.parametrize(
    ("classes", "captions", "method", "prompts", "codes"),
    [
        (("cat", "dog"), True, "flyp", {}, []),
        (("cat", "dog"), False, "linear_probe", {}, []),
        (("cat", "dog"), True, "linear_probe", {}, ["captions_not_used"]),
        (("cat", "dog"), True, "flyp", {"templates": ["{}"]}, ["captions_not_used"]),
        (("cat", "dog"), True, "zero_shot", {}, []),
        (("0", "1"), True, "flyp", {}, ["class_names_are_numbers"]),
        (("0", "1"), True, "flyp", {"class_names": {"0": "cat", "1": "dog"}}, []),
        (("0", "1"), False, "flyp", {}, []),
    ],
)
def test_what_is_said(
    classes: tuple[str, str], captions: bool, method: str, prompts: dict[str, Any], codes: list[str]
) -> None:
    source = ArraySource(np.zeros((2, 8, 8), np.uint8), np.arange(2), classes, ("a", "b"))
    if captions:
        source.captions = [("a tom cat",), ("rex",)]
    model = tiny_model()
    built = build_method(
        METHOD.validate_python({"name": method}), model, Captions(model, classes, ("{}",)), 4
    )
    said = caption_warnings(source, PromptSpec(**prompts), built, "pets")
    assert [warning.code for warning in said] == codes


@pytest.mark.parametrize(
    ("name", "cut"), [("tom", False), ("a " * 30 + "tom", True), ("\u732b" * 30, True)]
)
def test_captions_longer_than_the_model_reads_are_told(name: str, cut: bool) -> None:
    """The tiny model reads 16 tokens, of which the last ends a caption, also one that is cut."""
    captions = captions_for(tiny_model(), (name, "rex"), PromptSpec(), "pets")
    assert bool((captions.tokens_UL == captions.tokens_UL.max()).any(dim=1).all())
    said = cut_warnings(captions)
    assert [warning.code for warning in said] == ["captions_cut"] * cut


def test_captions_of_images_that_are_cut_are_counted() -> None:
    just, more = " ".join(["cat"] * 14), " ".join(["cat"] * 15)
    model = tiny_model()
    assert ImageCaptions(model, ("x", "y"), ("{}",), [(just,), (more,), ("rex", more)]).cut == [
        more
    ]
