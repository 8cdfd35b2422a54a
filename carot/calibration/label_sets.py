"""Which classes something was fitted for. Loads no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence


def label_set_hash(classes: Sequence[str]) -> str:
    """SHA-256 of the ordered class names: a calibrator holds for one label set only."""
    return hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest()
