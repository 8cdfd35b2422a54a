"""Single byte ranges (RFC 9110, section 14) for downloads that can be resumed."""

from __future__ import annotations

import re

from api.web.problems import Problem


def chosen_range(
    header: str | None, if_range: str | None, etag: str, size: int
) -> tuple[int, int] | None:
    """The half-open range [start, end) that a request asks for; None for the whole.

    A header with several ranges, or that is not understood, is ignored, as the RFC allows; so is
    one whose `If-Range` names another version.

    Raises:
        Problem: 416, the range lies beyond the end.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (header or "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    if if_range is not None and if_range.strip() != etag:
        return None
    first, last = match.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start = int(first)
        end = min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise Problem(
            416,
            "range_not_satisfiable",
            f"the file has {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end
