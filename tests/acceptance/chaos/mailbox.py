"""Messages of the embedded broker, which are files, are lost, doubled or late."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

from tests.acceptance.chaos.proxy import LONGEST_DELAY, WAYS


class Mailbox:
    """The folder that messages lie in until the worker takes them.

    Attributes:
        count: of messages, by what was done to them.
    """

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.count: Counter[str] = Counter()
        self._folder = folder
        self._rng = rng
        self._seen: set[str] = set()

    def meddle(self, seconds: float) -> int:
        """Do so until at least one message was met and `seconds` are over, at most 15 s."""
        before, began = self.count.total(), time.monotonic()
        while (passed := time.monotonic() - began) < 15:
            if passed >= seconds and self.count.total() > before:
                break
            for message in sorted(self._folder.glob("*.msg")):
                if message.name not in self._seen:
                    with contextlib.suppress(FileNotFoundError):  # the worker was faster
                        self._touch(message)
            time.sleep(0.005)
        return self.count.total() - before

    def _touch(self, message: Path) -> None:
        way = self._rng.choice(WAYS)
        stamp, _, rest = message.name.partition("_")
        self._seen.add(message.name)
        temporary = message.with_suffix(".held")
        match way:
            case "dropped":
                message.unlink()
            case "duplicated":
                copy = message.with_name(f"{int(stamp) + 1}_{rest}")
                self._seen.add(copy.name)
                shutil.copy(message, temporary)
                temporary.rename(copy)
            case _:
                message.rename(temporary)
                delay = self._rng.uniform(0.2, LONGEST_DELAY)
                threading.Timer(delay, temporary.rename, (message,)).start()
        self.count[way] += 1
