"""The models that come with the project. `carot.mini` tells how they were made."""

from __future__ import annotations

from pathlib import Path

from carot.specs.model import BUNDLED

_MADE: Path = Path(__file__).parents[1] / "mini"
MODEL_FOLDERS: dict[str, Path] = dict(
    zip(BUNDLED, (_MADE / "model", _MADE / "fashion" / "model"), strict=True)
)
"""Folders in open_clip's own layout, which it loads as `local-dir:FOLDER`, by architecture."""
