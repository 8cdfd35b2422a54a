"""Images decoded by a child process with bounded memory and time: the parent's side of it.

A child is started with the first image and kept; one that dies, answers nonsense or takes too long
is killed, its image counts as unreadable, and the next image gets another child.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from carot.confinement import command, environment
from carot.data.decoder import ANSWER, MAX_REASON, PIXELS, READY, packed
from carot.data.fitting import Fit
from carot.data.images import MAX_PIXELS
from carot.errors import UnreadableImage

START_SECONDS = 60.0
MODULE = "carot.data.decoder"


@dataclass(frozen=True)
class DecodeLimits:
    """What decoding one image may take.

    Attributes:
        memory_bytes: address space of the child, besides what it starts with.
        seconds: wall time from sending the image to its last pixel.
    """

    memory_bytes: int = 1 << 30
    seconds: float = 10.0


class DecoderFailure(Exception):
    """No child can be started. A fault of this machine, and of no image."""


class Decoder:
    """One child, for one thread.

    The thread that decodes with it must live on: to the kernel it is the child's parent, and takes
    the child with it. Only `retire` may be called from others.
    """

    module: ClassVar[str] = MODULE
    """What the child runs; it says READY, and answers each request behind ANSWER."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._child: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._retired = False

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Have a child at hand; otherwise the first image waits for it.

        Raises:
            DecoderFailure: there is none to be had.
        """
        if self._child is not None:
            return
        if self._retired:
            raise DecoderFailure("the image decoder is closed")
        ours, theirs = socket.socketpair()
        arguments = (str(os.getpid()), str(self._limits.memory_bytes))
        self._link = ours
        with theirs:
            self._child = subprocess.Popen(
                command(self.module, *arguments),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment(),
                start_new_session=True,
            )
        self._end_if_retired()
        try:
            ours.settimeout(START_SECONDS)
            ready = ours.recv(1)
        except OSError:
            ready = b""
        if ready != READY:
            code = self._end(grace=0.5)
            raise DecoderFailure(f"the image decoder did not start (exit status {code})")

    def decode(self, content: bytes, name: str, fit: Fit | None = None) -> Image.Image:
        """The first frame of an image, upright, RGB, brought to `fit` if one is given.

        Raises:
            UnreadableImage: see `decode_image`; or it takes too much memory or time, or crashes
                the decoder.
            DecoderFailure: the child cannot be started.
        """

        def fits(width: int, height: int) -> bool:
            return fit is None or (width, height) == (fit.width, fit.height)

        return self._ask(packed(fit, len(content)), content, name, fits)

    def _ask(
        self, head: bytes, content: bytes, name: str, fits: Callable[[int, int], bool]
    ) -> Image.Image:
        """What the child makes of an image, of a width and height that are allowed."""
        if self._child is not None and self._child.poll() is not None:
            self._end()  # killed while it had nothing to do: no image's fault
        self.start()
        try:
            return self._exchange(head, content, name, fits)
        except UnreadableImage:
            raise
        except TimeoutError:
            self._end()
            reason = f"decoding it takes longer than {self._limits.seconds:g} seconds"
        except OSError:
            reason = f"it ends the decoder{_how(self._end(grace=0.5))}"
        except BaseException:
            self._end()  # in the middle of an answer: the next would be read from there
            raise
        raise UnreadableImage(name, reason)

    def retire(self) -> None:
        """End the child whatever it does, and start no other: whoever waits for it sees it die."""
        self._retired = True
        self._end_if_retired()

    def close(self) -> None:
        """End the child and reap it."""
        self.retire()
        self._end()

    def _end_if_retired(self) -> None:
        child = self._child
        if self._retired and child is not None:
            child.kill()

    def _exchange(
        self, head: bytes, content: bytes, name: str, fits: Callable[[int, int], bool]
    ) -> Image.Image:
        deadline = time.monotonic() + self._limits.seconds
        assert self._link is not None, "start() made it"
        self._link.settimeout(self._limits.seconds)
        self._link.sendall(head)
        self._link.sendall(content)
        status, width, height, size = ANSWER.unpack(self._received(ANSWER.size, deadline))
        if status != PIXELS:
            if size > 4 * MAX_REASON:
                raise ConnectionError("a reason without end")
            raise UnreadableImage(name, self._received(size, deadline).decode("utf-8", "replace"))
        if not fits(width, height) or size != 3 * width * height or size > 3 * MAX_PIXELS:
            raise ConnectionError("an answer that does not fit the question")
        return Image.frombytes("RGB", (width, height), self._received(size, deadline))

    def _received(self, size: int, deadline: float) -> bytes:
        assert self._link is not None, "start() made it"
        content = bytearray(size)
        view, got = memoryview(content), 0
        while got < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._link.settimeout(left)
            count = self._link.recv_into(view[got:])
            if count == 0:
                raise ConnectionError("the child has ended")
            got += count
        return bytes(content)

    def _end(self, grace: float = 0.0) -> int | None:
        """Kill and reap; its exit status, negative for a signal, if it ended on its own.

        Args:
            grace: seconds to wait first: its socket closes a moment before it has a status.
        """
        child, link = self._child, self._link
        self._child = self._link = None
        if link is not None:
            link.close()
        if child is None:
            return None
        try:
            return child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return None


def _how(code: int | None) -> str:
    return "" if code is None else f" (signal {-code})" if code < 0 else f" (exit status {code})"
