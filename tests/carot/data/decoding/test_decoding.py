"""Decoding in a child: what comes out is what decoding here gives, whatever is sent."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from carot.data.decoding.decoder_client import DecodeLimits, Decoder, DecoderFailure, Pixels
from carot.data.decoding.images import decode_image
from carot.data.decoding.resampling import Fit
from carot.errors import UnreadableImage

pytestmark = pytest.mark.slow
SIZES = ((1, 1), (7, 5), (64, 64), (65, 64), (31, 97), (224, 224), (500, 333), (333, 1501))


def noise(width: int, height: int) -> Image.Image:
    pixels = random.Random(width * 7919 + height).randbytes(3 * width * height)
    return Image.frombytes("RGB", (width, height), pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


class Blocking:
    """A decoder with an event loop of its own."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._loop = asyncio.Runner()
        self._decoder = Decoder(limits)

    @property
    def pid(self) -> int | None:
        return self._decoder.pid

    @property
    def is_retired(self) -> bool:
        return self._decoder._retired

    def start(self) -> int:
        """The child's process id."""
        self._loop.run(self._decoder.start())
        assert self.pid is not None
        return self.pid

    def decode(self, content: bytes, name: str, fit: Fit | None = None) -> Image.Image:
        return self._loop.run(self._decoder.decode(content, name, fit)).image()

    def end(self, grace: float) -> None:
        self._decoder._end(grace)

    def shut(self) -> None:
        self._decoder.close()

    def close(self) -> None:
        self._decoder.close()
        self._loop.run(asyncio.sleep(0))  # what it told the loop to close
        self._loop.close()


@pytest.fixture
def decoder() -> Iterator[Blocking]:
    decoder = Blocking(DecodeLimits(memory_bytes=400 << 20, seconds=20))
    yield decoder
    decoder.close()


def status_of(decoder: Blocking, name: str) -> str:
    lines = Path(f"/proc/{decoder.pid}/status").read_text(encoding="ascii").splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(name + ":"))


def limit_of(decoder: Blocking, name: str) -> str:
    lines = Path(f"/proc/{decoder.pid}/limits").read_text(encoding="ascii").splitlines()
    return next(line[26:].split()[1] for line in lines if line.startswith(name))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_pixels_are_those_of_decoding_here(decoder: Blocking, kind: str) -> None:
    for width, height in SIZES:
        content = encoded(noise(width, height), kind)
        ours, theirs = decode_image(content, "x"), decoder.decode(content, "x")
        assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [32, 224])
def test_a_fitted_image_is_what_open_clip_makes_of_the_whole(
    decoder: Blocking, mode: str, interpolation: str, size: int
) -> None:
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2

    asked = {"size": size, "resize_mode": mode, "interpolation": interpolation}
    transform = image_transform_v2(PreprocessCfg(**asked), is_train=False)
    fit = Fit.of(asked)
    assert fit is not None
    for width, height in SIZES:
        content = encoded(noise(width, height))
        fitted = decoder.decode(content, "x", fit)
        assert fitted.size == (size, size)
        assert torch.equal(transform(fitted), transform(decode_image(content, "x")))


@pytest.mark.parametrize(
    "asked",
    [
        {"size": [224, 160]},
        {"size": 224, "resize_mode": "longest"},
        {"size": 224, "interpolation": "random"},
        {"size": 10**6},
        {},
    ],
)
def test_what_cannot_be_fitted_without_torch(asked: dict[str, Any]) -> None:
    assert Fit.of(asked) is None


@pytest.mark.parametrize("content", [b"", b"junk", encoded(noise(40, 40))[:200]])
def test_reasons_are_those_of_decoding_here(decoder: Blocking, content: bytes) -> None:
    with pytest.raises(UnreadableImage) as here:
        decode_image(content, "x")
    with pytest.raises(UnreadableImage) as there:
        decoder.decode(content, "x")
    assert str(there.value) == str(here.value)


def blank_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = zlib.compress(bytes(height * (1 + 4 * width)), 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_memory_is_bounded_and_the_child_goes_on() -> None:
    bomb = blank_png(6000, 6000)
    small = Blocking(DecodeLimits(memory_bytes=100 << 20))
    try:
        with pytest.raises(UnreadableImage, match="more memory"):
            small.decode(bomb, "x")
        pid = small.pid
        assert small.decode(encoded(noise(8, 8)), "y").size == (8, 8)
        assert small.pid == pid
    finally:
        small.close()


def test_the_largest_image_fits_into_what_is_given_by_default() -> None:
    decoder = Blocking(DecodeLimits(seconds=60))
    try:
        fitted = decoder.decode(blank_png(8000, 5000), "x", Fit(8, 8, "shortest", "bicubic"))
        assert fitted.size == (8, 8)
    finally:
        decoder.close()


def test_an_image_that_takes_too_long_is_given_up() -> None:
    hasty = Blocking(DecodeLimits(seconds=2))
    pid = hasty.start()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(UnreadableImage, match="longer than 2 seconds"):
        hasty.decode(encoded(noise(8, 8)), "x")
    assert not Path(f"/proc/{pid}").exists()
    assert hasty.decode(encoded(noise(8, 8)), "x").size == (8, 8)
    hasty.close()


def test_a_child_that_dies_at_work_costs_one_image(
    decoder: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = decoder.start()
    exchange = Decoder._exchange

    async def killed(child: Decoder, *request: Any) -> Pixels | str:
        os.kill(pid, signal.SIGKILL)
        return await exchange(child, *request)

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "_exchange", killed)
        with pytest.raises(UnreadableImage, match=r"ends the decoder \(signal 9\)"):
            decoder.decode(encoded(noise(8, 8)), "x")
    assert decoder.decode(encoded(noise(8, 8)), "y").size == (8, 8)
    assert decoder.pid != pid


def test_a_child_that_dies_idle_costs_nothing(decoder: Blocking) -> None:
    pid = decoder.start()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert decoder.decode(encoded(noise(8, 8)), "y").size == (8, 8)


def test_a_child_has_neither_secrets_nor_files_nor_torch(
    decoder: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROT_DATABASE_URL", "postgresql://user:secret@host/db")
    decoder.start()
    environment = Path(f"/proc/{decoder.pid}/environ").read_bytes()
    assert b"secret" not in environment
    assert limit_of(decoder, "Max file size") == "0"
    assert limit_of(decoder, "Max core file size") == "0"
    assert int(limit_of(decoder, "Max open files")) <= 16
    assert int(limit_of(decoder, "Max address space")) < 600 << 20
    assert len(list(Path(f"/proc/{decoder.pid}/fd").iterdir())) <= 5
    maps = Path(f"/proc/{decoder.pid}/maps").read_text(encoding="utf-8")
    assert "imaging" in maps.lower()  # Pillow is there, so that the next lines say something
    assert "torch" not in maps
    assert "numpy" not in maps


def test_a_child_ends_with_whoever_started_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from carot.data.decoding.decoder_client import DecodeLimits, Decoder\n"
        "import asyncio; d = Decoder(DecodeLimits()); loop = asyncio.Runner()\n"
        "loop.run(d.start()); print(d.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert _gone(int(done.stdout))


def _gone(pid: int) -> bool:
    for _ in range(100):
        path = Path(f"/proc/{pid}/stat")
        try:
            if path.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":
                return True  # ended; whoever inherited it has not looked yet
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_a_closed_decoder_starts_nothing(decoder: Blocking) -> None:
    decoder.shut()
    with pytest.raises(DecoderFailure):
        decoder.decode(encoded(noise(8, 8)), "x")


def test_closing_cuts_short_what_another_thread_grants(decoder: Blocking) -> None:
    pid = decoder.start()
    granting = threading.Thread(target=decoder.end, args=(60.0,))
    granting.start()
    time.sleep(0.1)
    began = time.monotonic()
    decoder.shut()
    assert time.monotonic() - began < 30
    granting.join()
    assert not Path(f"/proc/{pid}").exists()


def test_closing_while_it_starts_says_so(
    decoder: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeout = asyncio.timeout

    def closed(seconds: float) -> asyncio.Timeout:
        decoder.shut()  # as another thread may, when there is a connection
        return timeout(seconds)

    monkeypatch.setattr(asyncio, "timeout", closed)
    with pytest.raises(DecoderFailure):
        decoder.start()


def test_closing_waits_for_a_thread_that_reaps_the_child(
    decoder: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop sees a child die, and has a thread reap it, while another closes."""
    pid = decoder.start()
    reaping, wait = threading.Event(), subprocess.Popen.wait

    def slow(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        reaping.set()
        while not decoder.is_retired:
            time.sleep(0.01)
        time.sleep(0.3)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", slow)
    os.kill(pid, signal.SIGSTOP)
    there: list[bool] = []

    def close() -> None:
        os.kill(pid, signal.SIGKILL)
        assert reaping.wait(20)
        decoder.shut()
        there.append(Path(f"/proc/{pid}").exists())

    closing = threading.Timer(0.2, close)
    closing.start()
    with pytest.raises(DecoderFailure):
        decoder.decode(encoded(noise(8, 8)), "x")
    closing.join()
    assert there == [False]


@pytest.mark.parametrize("size", [(1, 201), (20_100, 100)])
def test_a_strip_is_refused_before_it_is_scaled(decoder: Blocking, size: tuple[int, int]) -> None:
    with pytest.raises(UnreadableImage, match="more than 200 times"):
        decoder.decode(encoded(Image.new("RGB", size)), "x", Fit(224, 224, "shortest", "bicubic"))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
@pytest.mark.parametrize("orientation", range(9))
def test_any_mode_and_orientation_becomes_upright_rgb(mode: str, orientation: int) -> None:
    """Against Pillow's own two steps, each of which copies."""
    exif = Image.Exif()
    if orientation:
        exif[0x112] = orientation
    content = encoded(noise(37, 21).convert(mode), "TIFF", exif=exif)
    with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        image.load()
        expected = ImageOps.exif_transpose(image).convert("RGB")
    decoded = decode_image(content, "x")
    assert (decoded.mode, decoded.size) == ("RGB", expected.size)
    assert decoded.tobytes() == expected.tobytes()
