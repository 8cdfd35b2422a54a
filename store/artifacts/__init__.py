"""Where the bytes of checkpoints, data sets, logits and snapshots lie.

An `ArtifactStore` stores bytes and knows no rows. `store.artifacts.rows` stores the rows, and alone
may delete, since it knows who still needs the bytes.
"""

from store.artifacts.base import ArtifactStore, Blob
from store.artifacts.choose import open_store

__all__ = ["ArtifactStore", "Blob", "open_store"]
