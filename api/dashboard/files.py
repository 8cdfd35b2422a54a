"""The dashboard's files, as a browser gets them.

All of them are read once, when the application is made, and have one address that holds a hash of
everything: `/dashboard/BUILD/app.js`. What lies beneath it never changes, so a browser asks for it
once, and no page mixes modules of two versions. Only the page itself, at `/`, is requested again
(and answered 304 while it is the same).

The charts' library comes from its own package (`plotly`), beneath an address with its version.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

PREFIX = "/dashboard"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
SHELL = "index.html"
BUILD_MARK, CHARTS_MARK = b"__BUILD__", b"__CHARTS__"
PRELOADS_MARK = b"<!-- modules -->"
EARLY = ("components/", "core/", "frame/")
LATE = "components/chart.js"
"""Modules that every page needs, but for the one of charts.

The browser asks for all of them at once, not one after another.
"""
WORTH_PACKING = 1024
DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",  # charts become pictures by way of these
    "font-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",  # forms are sent by scripts; without them a key goes nowhere
    "frame-ancestors": "'none'",
}
POLICY = "; ".join(f"{name} {sources}" for name, sources in DIRECTIVES.items())
"""Of the page: nothing from elsewhere, and no code or style but what lies in files."""


@dataclass(frozen=True)
class File:
    """One file: its bytes, what they are, and a hash of them."""

    content: bytes
    media_type: str

    @cached_property
    def packed(self) -> bytes | None:
        """The bytes in gzip, where that is worth it."""
        if len(self.content) < WORTH_PACKING:
            return None
        return gzip.compress(self.content, 6, mtime=0)

    @cached_property
    def digest(self) -> str:
        """Of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()[:32]


class Dashboard:
    """The shell, the files it asks for, and the charts' library.

    Attributes:
        build: a hash of all files.
    """

    def __init__(self) -> None:
        root = resources.files(__package__) / "static"
        with resources.as_file(root) as folder:
            contents = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.suffix in MEDIA_TYPES and path.is_file()
            }
        whole = hashlib.sha256()
        for name, content in contents.items():
            whole.update(f"{name}\0{len(content)}\0".encode() + content)
        self.build = whole.hexdigest()[:16]
        self.charts_version = version("plotly")
        self._files = {
            name: File(content, MEDIA_TYPES[Path(name).suffix])
            for name, content in contents.items()
            if name != SHELL
        }
        early = (n for n in contents if n.startswith(EARLY) and n.endswith(".js") and n != LATE)
        preloads = "\n".join(
            f'<link rel="modulepreload" href="__BUILD__/{name}">' for name in early
        )
        shell = contents[SHELL].replace(PRELOADS_MARK, preloads.encode())
        shell = shell.replace(BUILD_MARK, f"{PREFIX}/{self.build}".encode())
        charts = f"{PREFIX}/plotly/{self.charts_version}/plotly.min.js"
        self.shell = File(shell.replace(CHARTS_MARK, charts.encode()), MEDIA_TYPES[".html"])

    def find(self, build: str, name: str) -> File | None:
        """A file of this build; a name is a key here, and never a path."""
        return self._files.get(name) if build == self.build else None

    @cached_property
    def charts(self) -> File:
        """The charts' library from its package, read at the first request."""
        found = find_spec("plotly")
        assert found is not None
        assert found.submodule_search_locations is not None
        [folder] = found.submodule_search_locations
        content = (Path(folder) / "package_data" / "plotly.min.js").read_bytes()
        return File(content, MEDIA_TYPES[".js"])
