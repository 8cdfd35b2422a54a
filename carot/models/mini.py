"""carot-mini, the model that comes with the project. `carot.mini` tells how it was made."""

from __future__ import annotations

from pathlib import Path

MODEL_FOLDER: Path = Path(__file__).parents[1] / "mini" / "model"
"""A folder in open_clip's own layout, which it loads as `local-dir:{MODEL_FOLDER}`."""
