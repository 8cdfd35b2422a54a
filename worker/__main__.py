"""`python -m worker`: one worker process, one job at a time.

`python -m worker --check` ends with 0 when the worker of this host and data folder lives, else
with 1.
"""

from __future__ import annotations

import argparse
import sys

from store.settings import Settings
from worker.alive import MAX_AGE_SECONDS, age, alive_file


def main() -> None:
    """Work until SIGTERM or SIGINT, or look whether another process does."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only look whether the worker lives")
    settings = Settings()
    if parser.parse_args().check:
        sys.exit(_check(settings))
    # Celery takes a while to load, and a check is made often.
    from worker.app import serve

    serve(settings)


def _check(settings: Settings) -> str | None:
    path, seconds = alive_file(settings.data_dir), age(settings.data_dir)
    if seconds is None:
        return f"no worker has been at work here: there is no {path}"
    if seconds > MAX_AGE_SECONDS:
        return f"the worker was last heard {seconds:.0f} seconds ago, says {path}"
    return None


if __name__ == "__main__":
    main()
