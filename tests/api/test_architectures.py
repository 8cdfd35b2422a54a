"""The names read from open_clip's files are the names open_clip itself gives."""

from __future__ import annotations

import json
import subprocess
import sys

from api.architectures import architectures, similar, weights

OPEN_CLIP = """
import json, open_clip
names = open_clip.list_models()
print(json.dumps({n: open_clip.list_pretrained_tags_by_model(n) for n in names}))
"""


def test_they_agree_with_open_clip() -> None:
    done = subprocess.run([sys.executable, "-c", OPEN_CLIP], capture_output=True, check=True)
    theirs: dict[str, list[str]] = json.loads(done.stdout)
    assert architectures() - {"carot-mini"} == set(theirs)
    for name, tags in theirs.items():
        if not name.endswith("-quickgelu"):
            assert (weights(name) or frozenset()) == set(tags), name


def test_a_mistyped_name_gets_a_hint() -> None:
    assert "ViT-B-16" in similar("vit-b-16", architectures()) or similar("ViT-B16", architectures())
    assert "ViT-B-32" in similar("ViT-B-33", architectures())
