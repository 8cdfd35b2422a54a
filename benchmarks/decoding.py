"""What decoding in a child process adds to the latency of one image.

    python benchmarks/decoding.py [--rounds 200] [--size 224] [--json PATH]

From encoded bytes to a model's input tensor, three ways in turn: in a thread of the service, as it
was; in a child that hands over all pixels; in a child that hands over what the model sees, as the
service does. Prints the median of each in milliseconds and what the last adds to the first, and
checks that all three give the same tensor.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from api.inference.decoders import Decoders
from api.inference.normalisation import Normalisation
from api.inference.predictor import array_of
from benchmarks.provenance import RESULTS, write_results
from carot.data.decoding.decoder_client import DecodeLimits
from carot.data.decoding.images import decode_image
from carot.data.decoding.resampling import Fit

CASES = (
    ("PNG", 32, 32, 1),
    ("JPEG", 224, 224, 4),
    ("JPEG", 500, 375, 4),
    ("WEBP", 500, 375, 4),
    ("JPEG", 4000, 3000, 16),
)
"""Format, width, height, and by how much noise is enlarged to make something like a photograph."""
WAYS = ("thread", "child, whole", "child, fitted")
FEWER_FOR = 1_000_000
Way = Callable[[bytes], Awaitable[Any]]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="of each way and image")
    parser.add_argument("--size", type=int, default=224, help="of the model's input, in pixels")
    parser.add_argument("--json", type=Path, default=RESULTS / "decoding.json")
    options = parser.parse_args()
    rows = asyncio.run(measure_all(options.size, options.rounds))
    show(rows)
    write_results(options.json, {"rounds": options.rounds, "size": options.size, "images": rows})


async def measure_all(size: int, rounds: int) -> list[dict[str, Any]]:
    """Rows of all images, in the event loop that waits for threads and children."""
    transform = image_transform_v2(PreprocessCfg(size=size), is_train=False)
    fit = Fit.of({"size": size})
    assert fit is not None
    cfg = PreprocessCfg(size=size)
    normalised = Normalisation({"mean": cfg.mean, "std": cfg.std}, torch.device("cpu"))
    decoders, threads = Decoders(1, DecodeLimits(seconds=60)), ThreadPoolExecutor(1)
    loop = asyncio.get_running_loop()

    async def in_thread(content: bytes) -> Any:
        return await loop.run_in_executor(
            threads, lambda: transform(decode_image(content, "image"))
        )

    async def whole(content: bytes) -> Any:
        pixels = await decoders.decode(content, "image")
        assert pixels is not None
        return transform(pixels.image())

    async def fitted(content: bytes) -> Any:
        pixels = await decoders.decode(content, "image", fit)
        assert pixels is not None
        return normalised(torch.from_numpy(array_of(pixels)[None].copy()))[0]

    ways: dict[str, Way] = {"thread": in_thread, "child, whole": whole, "child, fitted": fitted}
    try:
        return [await measure(case, ways, rounds) for case in CASES]
    finally:
        decoders.close()
        threads.shutdown()


async def measure(
    case: tuple[str, int, int, int], ways: dict[str, Way], rounds: int
) -> dict[str, Any]:
    """Median milliseconds of each way for one image, the ways taking turns."""
    kind, width, height, scale = case
    content = photograph(kind, width, height, scale)
    expected = await ways["thread"](content)
    for way, decode in ways.items():
        result = await decode(content)  # also the warm-up
        if not torch.equal(result, expected):
            raise SystemExit(f"{way}: another tensor than in a thread")
    if width * height > FEWER_FOR:
        rounds = max(5, rounds // 10)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, decode in ways.items():
            started = time.perf_counter()
            await decode(content)
            seconds[way].append(time.perf_counter() - started)
    medians = {way: round(1000 * statistics.median(times), 3) for way, times in seconds.items()}
    return {
        "image": f"{kind} {width}x{height}",
        "bytes": len(content),
        "milliseconds": medians,
        "added": round(medians["child, fitted"] - medians["thread"], 3),
    }


def photograph(kind: str, width: int, height: int, scale: int) -> bytes:
    """Enlarged noise, encoded: neither as small as a blank image nor as large as noise."""
    small = (-(-width // scale), -(-height // scale))
    noise = random.Random(0).randbytes(3 * small[0] * small[1])
    image = Image.frombytes("RGB", small, noise).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def show(rows: list[dict[str, Any]]) -> None:
    """The table: medians in milliseconds."""
    print(f"{'image':18}{'KiB':>8}" + "".join(f"{way:>16}" for way in WAYS) + f"{'added':>9}")
    for row in rows:
        times = "".join(f"{row['milliseconds'][way]:16.2f}" for way in WAYS)
        print(f"{row['image']:18}{row['bytes'] / 1024:8.1f}{times}{row['added']:+9.2f}")


if __name__ == "__main__":
    main()
