"""`python -m tests.acceptance.chaos.sweeping`: a sweeper that never rests, until SIGTERM."""

from __future__ import annotations

import signal
import threading

from sqlalchemy.exc import SQLAlchemyError

from api.jobs.notification import WorkerNotifier
from store.database import Database
from store.settings import Settings
from store.sweeper import sweep_once

if __name__ == "__main__":
    # Between two sweeps only: an exception out of a signal's handler, in the middle of a
    # transaction, may be replaced by one of the driver's, and the sweeper would go on.
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    settings = Settings()
    database, notifier = Database(settings.database_url), WorkerNotifier(settings)
    while not stopping.wait(0.05):
        try:
            sweep_once(database, settings, notifier.notify)
        except SQLAlchemyError as error:
            print(error, flush=True)
