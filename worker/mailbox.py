"""kombu's folders-as-a-broker, reading with more care than the original."""

from __future__ import annotations

from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem


class Channel(filesystem.Channel):
    """A message that cannot be read is dropped instead of ending the worker.

    kombu makes a message's file before it fills it, so a reader can be too early; and two readers
    can reach for the same file. Whatever is lost here is sent again by the sweeper.
    """

    def _get(self, queue: Any, timeout: Any = None) -> Any:
        try:
            return super()._get(queue)  # type: ignore[no-untyped-call]
        except (ValueError, ChannelError):
            raise Empty from None


class Transport(filesystem.Transport):
    """The transport with that channel."""

    Channel = Channel
