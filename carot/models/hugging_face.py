"""What models of Hugging Face's need beyond open_clip: the package `transformers`, and their files.

A tower of theirs is built from a configuration that open_clip looks up on the hub by name. It is
kept beside the weights as `config.json`, so that a checkpoint loads where there is no hub.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from carot.errors import ModelError

TEXT_CONFIG_NAME = "config.json"
"""The configuration of a text tower of Hugging Face's, under the name that their loader expects."""
INSTALL = "pip install 'carot[hf]'"


def require_transformers(name: str, field: str | None) -> None:
    """Before anything is downloaded.

    Raises:
        ModelError: the package is not installed.
    """
    if find_spec("transformers") is None:
        raise ModelError(
            f"{name} needs the package transformers, which is not installed here: {INSTALL}",
            field=field,
        )


def save_text_config(module: nn.Module, folder: Path) -> None:
    """Write the configuration of a text tower of Hugging Face's; nothing for any other tower."""
    config = getattr(getattr(module, "text", None), "config", None)
    if config is not None and hasattr(config, "to_json_string"):
        (folder / TEXT_CONFIG_NAME).write_text(config.to_json_string(), encoding="utf-8")


@contextmanager
def with_own_text_config(folder: Path, config: Mapping[str, Any], weights: str) -> Iterator[Path]:
    """A folder whose text tower is built from the folder's own configuration, if it brings one.

    Args:
        config: what is in the folder's `open_clip_config.json`.
        weights: the name of its weights.
    """
    named = config["model_cfg"].get("text_cfg", {}).get("hf_model_name")
    if not named or not (folder / TEXT_CONFIG_NAME).is_file():
        yield folder
        return
    text_cfg = {**config["model_cfg"]["text_cfg"], "hf_model_name": str(folder.resolve())}
    model_cfg = {**config["model_cfg"], "text_cfg": text_cfg}
    with tempfile.TemporaryDirectory() as name:
        changed = Path(name)
        (changed / "open_clip_config.json").write_text(
            json.dumps({**config, "model_cfg": model_cfg}), encoding="utf-8"
        )
        (changed / weights).symlink_to((folder / weights).resolve())
        yield changed
