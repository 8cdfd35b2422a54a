"""Where the bytes of checkpoints, data sets, logits and snapshots lie.

An `ArtifactStore` keeps bytes and knows nothing of rows; `store.artifacts.rows` keeps the rows, and
is the only one that may delete, since it knows who still needs the bytes.
"""

from store.artifacts.base import ArtifactStore, Blob
from store.artifacts.choose import open_store

__all__ = ["ArtifactStore", "Blob", "open_store"]
