"""`python -m worker`: one worker process, one job at a time."""

from __future__ import annotations

from store.settings import Settings
from worker.app import serve

if __name__ == "__main__":
    serve(Settings())
