"""What every request of one application shares, and how routes ask for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request
from pydantic import BaseModel

from api.dashboard.files import Dashboard
from api.doorbell import Doorbell
from api.hosts import Hosts
from api.inference.engine import Engine
from api.live import Live
from api.measures import Measures
from api.pointings import Pointings
from api.rates import Rates
from api.readiness import Readiness
from api.recent import Recent
from api.recorder import Recorder
from api.settings import ApiSettings
from api.thumbnails import Thumbnailers
from api.unpacked import Unpacked
from api.versions import Versions
from api.webhooks.targets import Targets
from carot.data.decoding import DecodeLimits
from store.artifacts import ArtifactStore
from store.database import Database
from store.errors import NotFound
from store.headlines import Headlines
from store.statistics import Ledger, Models

if TYPE_CHECKING:
    from api.listings import Listing

COMPARISONS = 100
"""Answers about kept logits that are remembered."""
ANALYSES = 2
"""Of kept logits at the same time; they take processors and memory."""
LISTINGS = 8
"""Lists of the images of a split that are remembered; one of a million takes some 300 MB."""
PICTURES = 2
"""Made at the same time; as many requests more may wait for a data set to be unpacked."""
ID = re.compile(r"[a-z]{2,5}_[0-9a-z]{26}")


@dataclass
class Context:
    """The parts of one running API process.

    Attributes:
        ledger, models: what was read for `/metrics` before.
        headlines: what was read of reports for lists of jobs before.
        dashboard: the page that people look at.
        bundles: artifacts that were unpacked.
        comparisons: answers about kept logits, which never change.
        listings: of images, by data set and split.
        draining: whether it is about to stop, and only those who ask are to know.
        stopping: whether it is ending what is under way.
    """

    settings: ApiSettings
    database: Database
    artifacts: ArtifactStore
    doorbell: Doorbell
    engine: Engine
    measures: Measures
    targets: Targets
    rates: Rates
    hosts: Hosts
    readiness: Readiness
    recorder: Recorder
    versions: Versions
    live: Live
    pointings: Pointings
    ledger: Ledger = field(default_factory=Ledger)
    models: Models = field(default_factory=Models)
    headlines: Headlines = field(default_factory=Headlines)
    dashboard: Dashboard = field(default_factory=Dashboard)
    draining: Callable[[], bool] = lambda: False
    stopping: Callable[[], bool] = lambda: False
    ingests: CapacityLimiter = field(init=False)
    refits: CapacityLimiter = field(init=False)
    texts: CapacityLimiter = field(init=False)
    bundles: Unpacked = field(init=False)
    comparisons: Recent[BaseModel] = field(default_factory=lambda: Recent(COMPARISONS))
    analyses: CapacityLimiter = field(init=False)
    listings: Recent[Listing] = field(default_factory=lambda: Recent(LISTINGS))
    thumbnails: Thumbnailers = field(init=False)
    pictures: CapacityLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.bundles = Unpacked(
            self.settings.data_dir / "unpacked", self.artifacts, self.settings.unpacked_bytes
        )
        self.analyses = CapacityLimiter(ANALYSES)
        self.thumbnails = Thumbnailers(
            PICTURES,
            DecodeLimits(self.settings.ingest_memory_bytes, self.settings.decode_seconds),
        )
        self.pictures = CapacityLimiter(2 * PICTURES)
        # Apart from the limit of all threads: uploads that wait must not hold up other requests.
        self.ingests = CapacityLimiter(self.settings.ingest_processes)
        self.refits = CapacityLimiter(1)
        # One request's classes after the other go through a text tower.
        self.texts = CapacityLimiter(1)

    def leaving(self) -> bool:
        """Whether this process was told to stop."""
        return self.draining() or self.stopping()

    @property
    def scratch(self) -> Path:
        """Where bodies of requests wait to be looked at."""
        return self.settings.data_dir / "scratch"


def context_of(request: Request) -> Context:
    """What a request shares with others. A route that has no time for dependencies asks this."""
    return cast(Context, request.app.state.context)


def request_id_of(request: Request) -> str:
    """The id that a request has come with, or was given."""
    return cast(str, request.state.request_id)


# Not in threads, where FastAPI runs what is not async.
async def _context(request: Request) -> Context:
    return context_of(request)


async def _request_id(request: Request) -> str:
    return request_id_of(request)


Ctx = Annotated[Context, Depends(_context)]
RequestId = Annotated[str, Depends(_request_id)]


def known_shape(kind: str, identity: str) -> str:
    """The id itself; an id that cannot exist is not looked up, whatever characters it has.

    Raises:
        NotFound: it is not an id.
    """
    if not ID.fullmatch(identity):
        raise NotFound(kind, identity[:100])
    return identity
