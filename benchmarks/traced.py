"""A pass of an image tower, as it is and traced, alone and beside a thread that runs Python.

    python benchmarks/traced.py [--models carot-mini ViT-B-32] [--rounds 5] [--threads 1]

The other thread does nothing but Python, as an event loop does that has requests to parse; it keeps
the lock for as long as the API lets it. Ways take turns; milliseconds are medians over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from api.__main__ import SWITCH_SECONDS
from api.inference.traced import traced
from benchmarks.provenance import RESULTS, write_results
from benchmarks.serve_contenders import make_model

BATCHES = (1, 16)
PASSES = {"carot-mini": 10, "ViT-B-32": 1}
"""In a row, of which the mean is one measurement."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=PASSES, default=list(PASSES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    parser.add_argument("--json", type=Path, default=RESULTS / "traced.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sys.setswitchinterval(SWITCH_SECONDS)
    rows = [row for name in options.models for row in measure(name, options.rounds)]
    write_results(options.json, {"rounds": options.rounds, "rows": rows})


@torch.inference_mode()
def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    """Rows of one model, by batch size."""
    model = make_model(name)
    ways = {"as it is": model.encode_images, "traced": traced(model)}
    rows = []
    for batch in BATCHES:
        images_NCHW = torch.randn(batch, 3, *model.image_size)
        found: dict[str, list[float]] = {f"{way}{beside}": [] for way in ways for beside in BESIDE}
        for _ in range(rounds):
            for way, encode in ways.items():
                for beside, company in BESIDE.items():
                    encode(images_NCHW)
                    with company():
                        began = time.perf_counter()
                        for _ in range(PASSES[name]):
                            encode(images_NCHW)
                        took = time.perf_counter() - began
                    found[way + beside].append(1000 * took / PASSES[name])
        medians = {way: round(statistics.median(each), 2) for way, each in found.items()}
        print(name, batch, medians, flush=True)
        rows.append({"model": name, "batch": batch, "milliseconds": medians})
    return rows


@contextmanager
def alone() -> Iterator[None]:
    """Nothing else runs."""
    yield


@contextmanager
def busy() -> Iterator[None]:
    """Another thread runs Python."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            sum(range(200))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


BESIDE: dict[str, Callable[[], Any]] = {"": alone, ", beside Python": busy}

if __name__ == "__main__":
    main()
