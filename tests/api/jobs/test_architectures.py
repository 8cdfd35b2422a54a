"""The names read from open_clip's files are the names open_clip itself gives."""

from __future__ import annotations

import open_clip

from api.jobs.architectures import architectures, similar, weights


def test_they_agree_with_open_clip() -> None:
    assert architectures() - {"carot-mini"} == set(open_clip.list_models())
    for name in open_clip.list_models():
        if not name.endswith("-quickgelu"):
            tags = set(open_clip.list_pretrained_tags_by_model(name))
            assert (weights(name) or frozenset()) == tags, name


def test_a_mistyped_name_gets_a_hint() -> None:
    assert "ViT-B-16" in similar("vit-b-16", architectures()) or similar("ViT-B16", architectures())
    assert "ViT-B-32" in similar("ViT-B-33", architectures())
