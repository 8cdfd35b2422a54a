"""Pictures of images of data sets, as the models saw them. Blocking."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import Response

from api.datasets.image_list import shown
from api.datasets.listings import Place, listing
from api.datasets.state import DatasetsState
from api.web.problems import Problem
from carot.data.decoding.decoder_client import DecoderFailure
from carot.data.decoding.thumbnailer_client import Shift

FOREVER = "private, max-age=31536000, immutable"
A_WHILE = "private, max-age=300"


def picture(
    state: DatasetsState, place: Place, split: str, key: str, side: int, shift: Shift | None
) -> Response:
    """An image, decoded, scaled down and encoded again.

    Raises:
        NotFound: there is no such image, or it cannot be shown here.
        UnreadableImage: it cannot be decoded, or shifting it takes too much memory.
        Problem: 503, no process can be started to decode it.
    """
    with listing(state, place, split, None if shift is None else shift.name) as images:
        index = images.index(key)
        content, name = images.content(index), images.source.keys[index]
    try:
        body, media_type = state.thumbnails.make(content, name, side, shift, place.depth)
    except DecoderFailure as error:
        headers = {"Retry-After": "1"}
        raise Problem(503, "unavailable", str(error), headers=headers) from error
    # Files beneath the root may be replaced; what has an id or comes with the project never is.
    lasting = place.bundle is not None or place.reference.startswith("builtin:")
    headers = {"Cache-Control": FOREVER if lasting else A_WHILE}
    return Response(body, media_type=media_type, headers=headers)


def shift_of(name: str | None, severity: int | None) -> Shift | None:
    """A shift, where one is named."""
    return None if name is None else Shift(name, severity or 3)


def picture_of_dataset(dataset_id: str, split: str, key: str) -> str:
    """Path of the picture of an image."""
    return f"/datasets/{dataset_id}/image?" + urlencode({"split": split, "key": shown(key)})
