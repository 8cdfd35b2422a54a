"""`python -m tests.acceptance.chaos.sweeping`: a sweeper that never rests, until SIGTERM."""

from __future__ import annotations

import signal
import sys
import time

from sqlalchemy.exc import SQLAlchemyError

from api.doorbell import Doorbell
from store.database import Database
from store.settings import Settings
from store.sweeper import sweep_once

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = Settings()
    database, doorbell = Database(settings.database_url), Doorbell(settings)
    while True:
        try:
            sweep_once(database, settings, doorbell.ring)
        except SQLAlchemyError as error:
            print(error, flush=True)
        time.sleep(0.05)
