"""carot-mini: a small CLIP for 32 x 32 digits, pre-trained by this package on rendered glyphs."""

from __future__ import annotations

from pathlib import Path

MODEL_FOLDER: Path = Path(__file__).parent / "model"
"""open_clip's own layout; load it as `open_clip.create_model_and_transforms(f"local-dir:{...}")`."""
