"""A browser, and a site for it to look at."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.acceptance.dashboard.site import Site, running
from tests.acceptance.harness import free_port
from tests.programs import VARIABLES, Unavailable, find_programs

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
REQUEST_FAILED = re.compile(r"Failed to load resource")
"""A browser writes this of every answer that is an error, and of every one that does not come."""
TIMEOUT_MS = 20_000
expect.set_options(timeout=TIMEOUT_MS)  # the machine may have other things to do


def chromium() -> str:
    """The browser: the one that was named, else the system's."""
    named = os.environ.get(VARIABLES["chromium"])
    return named or str(find_programs("chromium")[0])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        path = chromium()
    except Unavailable as missing:
        pytest.fail(str(missing), pytrace=False)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield launched
        launched.close()


class Window:
    """A window of a browser that keeps account of what must not happen in it.

    Attributes:
        expected: what may stand in the console all the same.
    """

    def __init__(self, context: BrowserContext, host: str) -> None:
        self.page = context.new_page()
        self.faults: list[str] = []
        self.elsewhere: list[str] = []
        self.expected: list[re.Pattern[str]] = []
        self._host = host
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self._on_request(request.url))

    def check(self) -> None:
        """Fail when something stood in the console, or somebody else was asked."""
        faults = [f for f in self.faults if not any(e.search(f) for e in self.expected)]
        assert faults == []
        assert self.elsewhere == []

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self._host:
            self.elsewhere.append(url)


@pytest.fixture(scope="module")
def port() -> int:
    """One for all sites of a file, so that the browser keeps what it has loaded."""
    return free_port()


@pytest.fixture
def site(tmp_path: Path, port: int, _sqlite_template: Path) -> Iterator[Site]:
    """A server without keys and without jobs."""
    with running(tmp_path, template=_sqlite_template, port=port) as served:
        yield served


def new_context(browser: Browser) -> BrowserContext:
    """A browser that has been nowhere yet."""
    made = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    made.set_default_timeout(TIMEOUT_MS)
    return made


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all tests of a file; each finds it empty but for what came from the server."""
    made = new_context(browser)
    yield made
    made.close()


@contextmanager
def new_window(browser: Browser, url: str) -> Iterator[Window]:
    """A window at a server; at the end nothing bad has happened in it."""
    context = new_context(browser)
    made = Window(context, urlsplit(url).netloc)
    yield made
    context.close()
    made.check()


FORGET = "() => { localStorage.clear(); sessionStorage.clear(); }"


@pytest.fixture
def window(context: BrowserContext, site: Site) -> Iterator[Window]:
    """A window at the site, in a browser that remembers nobody; nothing bad happens in it."""
    made = Window(context, urlsplit(site.url).netloc)
    yield made
    if made.page.url.startswith(site.url):
        made.page.evaluate(FORGET)
    for page in context.pages:
        page.close()
    context.clear_cookies()
    context.clear_permissions()
    made.check()


@pytest.fixture
def page(window: Window) -> Page:
    return window.page
