"""Routes for data sets: upload, register, list, show images, delete."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from api.access.callers import JobsReader, JobsWriter
from api.access.idempotency import Answer, IdempotencyKey, Once
from api.datasets import ingest
from api.datasets.bundled import DIGITS
from api.datasets.listings import PRINTED, place_of
from api.datasets.near_copies import list_near_copies
from api.datasets.pictures import picture, shift_of
from api.datasets.samples import Wanted, list_samples
from api.datasets.schemas import (
    PICTURE,
    DatasetRequest,
    DatasetView,
    Key,
    NearCopyView,
    SampleView,
    Side,
)
from api.datasets.state import DatasetsDep, DatasetsState
from api.datasets.unpacked import Bundle
from api.web.identifiers import known_shape
from api.web.middleware import media_type_of
from api.web.problems import Problem, invalid
from api.web.schemas import PLAIN, Cursor, Limit, Name, Page
from api.web.uploads import Upload, receive, scratch
from carot.specs import ShiftName, SplitName
from carot.specs.base import OnCopies
from store.datasets import datasets as store
from store.retention import deletion
from store.tables import Dataset

router = APIRouter(prefix="/datasets", tags=["datasets"])

ARCHIVES = ("application/zip", "application/x-tar", "application/gzip", "application/octet-stream")
MORE_ARCHIVES = ("application/x-zip-compressed", "application/x-gzip", "application/tar")
BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            **dict.fromkeys(ARCHIVES, BINARY),
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "name": {"type": "string"},
                    },
                }
            },
            "application/json": {
                "schema": DatasetRequest.model_json_schema(),
                "example": {"source": "builtin:digits"},
            },
        },
    }
}


@router.post("", status_code=201, response_model=DatasetView, openapi_extra=BODY)
async def create(
    request: Request,
    state: DatasetsDep,
    caller: JobsWriter,
    name: Annotated[Name | None, Query(description="For people.")] = None,
    copies: Annotated[
        OnCopies,
        Query(
            description="Images that are in two named splits, byte for byte: left out of the later "
            "one, with a warning that counts them, or refused. With JSON its field counts."
        ),
    ] = "leave_out",
    key: IdempotencyKey = None,
) -> Response:
    """Upload images as a zip, tar or tar.gz, or name a data set that the server has.

    Layouts: `class/name.png`; `train|validation|calibration|test/class/name.png`, under any usual
    name of a split; or images with tables beside them (CSV, JSON Lines, Label Studio's JSON) that
    name images and classes. What is not clearly one of them is refused with what would be. The
    archive is checked member by member. What is left out is counted in `warnings`; more than 1 %
    of unreadable images refuse it.
    """
    media_type = media_type_of(request.headers)
    if media_type == "application/json":
        return await _from_json(request, state, caller.project, name, key)
    with scratch(state.context.scratch) as folder:
        if media_type == "multipart/form-data":
            upload, name = await _from_form(request, state, folder, name)
        elif media_type in (*ARCHIVES, *MORE_ARCHIVES):
            limit = state.settings.max_upload_bytes
            upload = await receive(request.stream(), folder / "archive", limit)
        else:
            raise Problem(
                415,
                "unsupported_media_type",
                f"send one of {', '.join(ARCHIVES[:3])}, multipart/form-data or application/json",
            )
        chosen = name or "upload"

        def make() -> ingest.Draft:
            return ingest.from_file(state, upload.path, chosen, {"source": "upload"}, copies)

        print_ = f"{upload.sha256}:{chosen}:{copies}"
        return await to_thread.run_sync(
            _store, state, caller.project, key, print_, make, limiter=state.ingests
        )


@router.get("")
def list_datasets(
    state: DatasetsDep,
    caller: JobsReader,
    search: Annotated[
        str | None,
        Query(max_length=200, pattern=PLAIN, description="Only data sets with this in name or id."),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DatasetView]:
    """Data sets that were not deleted, newest first."""
    with state.database.reading() as session:
        page = store.list_datasets(
            session, caller.project, search=search, cursor=cursor, limit=limit
        )
        data = [ingest.view(row) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.get("/{dataset_id}")
def get_dataset(dataset_id: str, state: DatasetsDep, caller: JobsReader) -> DatasetView:
    """One data set."""
    with state.database.reading() as session:
        wanted = known_shape("dataset", dataset_id)
        return ingest.view(store.get_dataset(session, caller.project, wanted))


@router.get("/{dataset_id}/samples")
async def samples(
    dataset_id: str,
    state: DatasetsDep,
    caller: JobsReader,
    split: Annotated[SplitName | None, Query(description="By default all.")] = None,
    class_: Annotated[
        str | None, Query(alias="class", max_length=1000, description="By default all.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[SampleView]:
    """Images of a data set, in an order that mixes the classes and is always the same."""
    return await to_thread.run_sync(
        list_samples,
        state,
        caller.project,
        known_shape("dataset", dataset_id),
        Wanted(split, class_),
        cursor,
        limit,
        limiter=state.pictures,
    )


@router.get("/{dataset_id}/near-copies")
def near_copies(
    dataset_id: str,
    state: DatasetsDep,
    caller: JobsReader,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[NearCopyView]:
    """Images that look like an image of an earlier split, the most alike first; at most 1,000."""
    with state.database.reading() as session:
        wanted = known_shape("dataset", dataset_id)
        row = store.get_dataset(session, caller.project, wanted)
        return list_near_copies(row, cursor, limit)


@router.get("/{dataset_id}/image", response_class=Response, responses=PICTURE)
async def image(
    dataset_id: str,
    state: DatasetsDep,
    caller: JobsReader,
    key: Key,
    split: SplitName,
    side: Side = 160,
    shift: Annotated[
        ShiftName | None,
        Query(description="Show it as this shift of an evaluation does."),
    ] = None,
    severity: Annotated[int, Query(ge=1, le=5, description="Of the shift.")] = 3,
) -> Response:
    """An image of a data set, decoded, scaled down and encoded again."""

    def make() -> Response:
        place = place_of(state, caller.project, known_shape("dataset", dataset_id))
        if shift == PRINTED and place.reference != DIGITS:
            raise invalid("shift", f"`{PRINTED}` goes with {DIGITS} only")
        return picture(state, place, split, key, side, shift_of(shift, severity))

    return await to_thread.run_sync(make, limiter=state.pictures)


@router.delete("/{dataset_id}", status_code=204)
def delete_dataset(dataset_id: str, state: DatasetsDep, caller: JobsWriter) -> None:
    """Delete its images; what is known of it stays. Not while a job needs it."""
    with state.database.session() as session:
        row = store.get_dataset(session, caller.project, known_shape("dataset", dataset_id))
        bundle = _bundle(row)
        artifact = deletion.delete(session, row)
    deletion.finish(state.database, state.artifacts, artifact)
    if bundle is not None:
        state.bundles.forget(bundle)


def _bundle(row: Dataset) -> Bundle | None:
    if row.artifact is None or row.deleted_at is not None:
        return None
    return Bundle.of(row.artifact)


async def _from_json(
    request: Request,
    state: DatasetsState,
    project: str,
    name: str | None,
    key: IdempotencyKey,
) -> Response:
    raw = await request.body()
    try:
        body = DatasetRequest.model_validate(json.loads(raw))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "invalid_json", f"the body is not JSON: {error}") from error
    except ValidationError as error:
        pairs = [(".".join(map(str, e["loc"])) or "body", e["msg"]) for e in error.errors()]
        detail = f"{pairs[0][0]}: {pairs[0][1]}"
        raise Problem(422, "invalid_request", detail, errors=pairs) from error
    chosen = body.name or name

    def make() -> ingest.Draft:
        if body.source == "folder":
            return ingest.from_folder(state, body.path, chosen, body.copies)
        if body.path is not None:
            raise invalid("path", "goes with `source: folder` only")
        return ingest.from_bundled(body.source, chosen)

    print_ = json.dumps([body.source, body.path, chosen, body.copies])
    return await to_thread.run_sync(
        _store, state, project, key, print_, make, limiter=state.ingests
    )


def _store(
    state: DatasetsState,
    project: str,
    key: IdempotencyKey,
    print_: str,
    make: Callable[[], ingest.Draft],
) -> Response:
    once = Once(key, "POST /datasets", print_)
    if (before := once.look(state.database)) is not None:
        return before
    draft = make()
    with state.database.session() as session:
        faster = once.take(session)  # the same upload at the same time
        if faster is None:
            dataset = ingest.view(draft.record(session, project, state.artifacts))
            answer = Answer(201, dataset, {"Location": f"/datasets/{dataset.id}"})
            once.keep(session, answer)
    if faster is not None:
        draft.drop(state)
        return faster
    return answer.response()


async def _from_form(
    request: Request, state: DatasetsState, folder: Path, name: str | None
) -> tuple[Upload, str | None]:
    async with request.form(max_files=1, max_fields=4) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise invalid("file", "the form has no file of this name")
        given = form.get("name")
        if isinstance(given, str) and given:
            if len(given) > 200 or not given.isprintable():
                raise invalid("name", "at most 200 printable characters")
            name = given

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await file.read(1 << 20):
                yield chunk

        upload = await receive(chunks(), folder / "archive", state.settings.max_upload_bytes)
        return upload, name or _printable(file.filename)


def _printable(filename: str | None) -> str | None:
    return filename if filename and filename.isprintable() and len(filename) <= 200 else None
