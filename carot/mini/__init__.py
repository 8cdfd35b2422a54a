"""carot-mini: a small CLIP for 32 x 32 digits, pre-trained by this package on rendered glyphs."""

from __future__ import annotations

from pathlib import Path

MODEL_FOLDER: Path = Path(__file__).parent / "model"
"""A folder in open_clip's own layout, which it loads as `local-dir:{MODEL_FOLDER}`."""
