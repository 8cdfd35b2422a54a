"""The API in a thread of this process, on a database of its own, as a browser meets it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from api.app import create_app
from api.settings import ApiSettings
from store.access.keys import create_key
from store.access.scopes import Scope
from store.database import Database
from store.tables import DEFAULT_PROJECT
from tests.acceptance.harness import free_port

START_SECONDS = 30.0


class Site:
    """A server that can be taken away and given back, on the same port and data.

    Args:
        template: a database at the newest revision to start from.
    """

    def __init__(
        self, folder: Path, template: Path | None = None, port: int | None = None, **settings: Any
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = f"sqlite:///{folder / 'carot.db'}"
        if template is not None:
            shutil.copy(template, folder / "carot.db")
        self.database = Database(self.database_url)
        if template is None:
            self.database.upgrade()

    def start(self) -> None:
        """Serve, and wait until it answers."""
        settings = ApiSettings(
            data_dir=self._folder,
            database_url=self.database_url,
            port=self.port,
            sweep_seconds=3600.0,  # rows that tests wrote as a worker would stay as they are
            **self._settings,
        )
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        server = self._server = uvicorn.Server(config)
        self.state = app.state
        self.context = app.state.context
        self.artifacts = app.state.context.artifacts
        app.state.context.stopping = lambda: server.should_exit
        self._thread = threading.Thread(target=server.run, name="site", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            assert self._thread.is_alive(), "the server ended while it started"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Take it away."""
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive(), "the server does not stop"

    def close(self) -> None:
        """Take it away for good."""
        if self._thread is not None and self._thread.is_alive():
            self.stop()
        self.database.close()

    def ask(self, path: str) -> Any:
        """What the API answers to a GET; it shares its process with the test."""
        answer = httpx.get(self.url + path, timeout=START_SECONDS)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def new_key(self, *scopes: Scope) -> str:
        """The token of a new key; from then on the site asks for one."""
        with self.database.session() as session:
            given = scopes or ("admin",)
            return create_key(session, DEFAULT_PROJECT, given, name="Ada")[1]


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Site]:
    """A server without keys and without jobs, for a while."""
    site = Site(folder, **settings)
    try:
        site.start()
        yield site
    finally:
        site.close()
