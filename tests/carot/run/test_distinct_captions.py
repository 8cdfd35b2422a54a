from __future__ import annotations

import pytest

from carot.data.formats.wordnet import imagenet_names
from carot.errors import SpecError
from carot.run.captions import captions_for
from carot.specs import PromptSpec
from tests.carot.tiny import tiny_model

LONG = "word " * 20  # beyond the context of the tiny model


@pytest.mark.parametrize(
    "classes",
    [
        ("Cat", "cat", "dog"),
        ("a_b", "a b"),
        ("a  b", "a b"),
        (LONG + "one", LONG + "two"),
        ("caf&eacute;", "café"),
    ],
)
def test_names_that_are_one_caption_to_the_model_are_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(SpecError) as caught:
        captions_for(tiny_model(), classes, PromptSpec(), "folder:x")
    assert caught.value.field == "prompts.class_names"
    for name in classes[:2]:
        assert repr(name) in caught.value.message


def test_given_captions_tell_them_apart() -> None:
    prompts = PromptSpec(class_names={"Polish": "thing from Poland"})
    captions = captions_for(tiny_model(), ("Polish", "polish"), prompts, "folder:x")
    assert captions.names == ("thing from Poland", "polish")
    with pytest.raises(SpecError, match=r"'Polish'.*'polish'"):
        captions_for(tiny_model(), ("Polish", "polish"), PromptSpec(), "folder:x")


def test_the_names_that_clip_was_published_with_are_taken_as_they_are() -> None:
    missiles = [wnid for wnid, name in imagenet_names().items() if name == "missile"]
    assert len(missiles) == 2
    classes = tuple(sorted(imagenet_names()))
    prompts = PromptSpec(templates=("a {}",))
    assert captions_for(tiny_model(), classes, prompts, "folder:x").names.count("missile") == 2
    given = PromptSpec(templates=("a {}",), class_names={classes[0]: "missile"})
    with pytest.raises(SpecError, match=f"'{classes[0]}'"):
        captions_for(tiny_model(), classes, given, "folder:x")


def test_given_captions_may_not_make_two_classes_one() -> None:
    prompts = PromptSpec(class_names={"cat": "pet", "dog": "Pet"})
    with pytest.raises(SpecError, match=r"'cat'.*'dog'"):
        captions_for(tiny_model(), ("cat", "dog"), prompts, "folder:x")


def test_a_template_that_cuts_the_name_off_is_refused() -> None:
    prompts = PromptSpec(templates=("a {}", LONG + "{}"))
    with pytest.raises(SpecError, match=r"under the template 'word word"):
        captions_for(tiny_model(), ("cat", "dog"), prompts, "folder:x")
