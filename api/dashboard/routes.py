"""The dashboard's page and files. They hold no data, so anyone may have them.

What the page shows it asks the API for, with the session of whoever looks at it.
"""

from __future__ import annotations

import re
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Request, Response

from api.access.callers import Anyone
from api.dashboard.files import POLICY, PREFIX, Dashboard, File
from api.web.etags import names
from store.errors import NotFound

router = APIRouter(dependencies=[Anyone], include_in_schema=False)
FOREVER = "public, max-age=31536000, immutable"
EACH_TIME = "no-cache"
GZIP = re.compile(r"gzip(;q=(?!0(\.0*)?$)[0-9.]+)?")
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
IfNoneMatch = Annotated[str | None, Header(max_length=1000)]


# Not in a thread, where FastAPI runs what is not async.
async def _dashboard(request: Request) -> Dashboard:
    return cast(Dashboard, request.app.state.dashboard)


DashboardDep = Annotated[Dashboard, Depends(_dashboard)]


@router.get("/")
def page(request: Request, dashboard: DashboardDep, if_none_match: IfNoneMatch = None) -> Response:
    """The page, the same for everybody: the rest of its address lies behind a `#`."""
    shell = dashboard.shell
    return _answer(request, shell, if_none_match, EACH_TIME, PAGE_HEADERS)


@router.get(PREFIX + "/plotly/{version}/plotly.min.js")
def charts(
    version: str, request: Request, dashboard: DashboardDep, if_none_match: IfNoneMatch = None
) -> Response:
    """The library that draws charts, from its own package."""
    if version != dashboard.charts_version:
        raise NotFound("file", "plotly.min.js")
    return _answer(request, dashboard.charts, if_none_match, FOREVER)


@router.get(PREFIX + "/{build}/{name:path}")
def file(
    build: str,
    name: str,
    request: Request,
    dashboard: DashboardDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A file of this build; one of another build is gone, and its page has to be reloaded."""
    found = dashboard.find(build, name)
    if found is None:
        raise NotFound("file", ascii(name[:100])[1:-1])
    return _answer(request, found, if_none_match, FOREVER)


def _answer(
    request: Request,
    file: File,
    if_none_match: str | None,
    caching: str,
    more: dict[str, str] | None = None,
) -> Response:
    packed = file.packed if _takes_gzip(request) else None
    etag = f'"{file.digest}{"-gzip" if packed is not None else ""}"'
    headers = {"ETag": etag, "Cache-Control": caching, "Vary": "Accept-Encoding"} | (more or {})
    if names(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    content = file.content if packed is None else packed
    return Response(content, headers=headers, media_type=file.media_type)


def _takes_gzip(request: Request) -> bool:
    offered = request.headers.get("accept-encoding", "").lower().replace(" ", "")
    return any(GZIP.fullmatch(each) for each in offered.split(","))
