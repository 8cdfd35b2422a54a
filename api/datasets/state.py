"""What requests about data sets share."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Annotated, cast

from anyio import CapacityLimiter
from cachetools import LRUCache
from fastapi import Depends, Request

from api.context import Context, SubjectState
from api.datasets.image_list import ImageList
from api.datasets.thumbnails import Thumbnailers
from api.datasets.unpacked import Unpacked
from carot.data.decoding.decoder_client import DecodeLimits

LISTS = 8
"""Lists of the images of a split that are cached; one of a million takes some 300 MB."""
PICTURES = 2
"""Made at the same time; as many requests more may wait for a data set to be unpacked."""


class DatasetsState(SubjectState):
    """Unpacked data sets, lists of their images, and the processes that look at them.

    Attributes:
        bundles: artifacts that were unpacked.
        lists: of images, by data set and split; to be used under `lock`.
        pictures: requests for pictures at the same time.
        ingests: uploads that are looked at at the same time.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        settings = context.settings
        self.bundles = Unpacked(
            settings.data_dir / "unpacked", context.artifacts, settings.unpacked_bytes
        )
        self.lists: LRUCache[Hashable, ImageList] = LRUCache(LISTS)
        self.lock = threading.Lock()
        self.thumbnails = Thumbnailers(
            PICTURES, DecodeLimits(settings.ingest_memory_bytes, settings.decode_seconds)
        )
        self.pictures = CapacityLimiter(2 * PICTURES)
        # Apart from the limit of all threads: uploads that wait must not hold up other requests.
        self.ingests = CapacityLimiter(settings.ingest_processes)

    def close(self) -> None:
        """End the processes that make pictures."""
        self.thumbnails.close()


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> DatasetsState:
    return cast(DatasetsState, request.app.state.datasets)


DatasetsDep = Annotated[DatasetsState, Depends(_state)]
