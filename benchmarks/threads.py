"""Training and serving beside a busy process: how threads wait, and how many there are.

    python benchmarks/threads.py [--quick] [--rounds N]

Prints, for training steps of carot-mini and passes of its tower on 1, 8 and 64 images, steps a
second on a quiet machine and beside one busy process: with the defaults of PyTorch, with threads
that wait passively (`carot.threads`, as every process of the service has them), and with one
thread. Settings take turns, in a process each; medians over rounds. Results lie in
`benchmarks/results/threads.json`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

from benchmarks.provenance import RESULTS, write_results
from carot.threads import PASSIVE

SETTINGS: dict[str, dict[str, str]] = {
    "spinning": {},
    "passive": PASSIVE,
    "one thread": PASSIVE | {"OMP_NUM_THREADS": "1"},
}
CELLS = ("train", "pass 1", "pass 8", "pass 64")
PROGRAM = """
import json, sys, time
import torch
from carot.models.clip import load_model
from carot.specs import ModelSpec
cell, seconds = sys.argv[1], float(sys.argv[2])
model = load_model(ModelSpec(architecture="carot-mini"), "cpu")
count = 64 if cell == "train" else int(cell.split()[1])
images_NCHW = torch.randn(count, 3, *model.image_size)
if cell == "train":
    model.module.train()
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-6)
    def step():
        optimizer.zero_grad()
        model.module.encode_image(images_NCHW).square().mean().backward()
        optimizer.step()
else:
    from api.inference.tower import Tower
    tower = Tower(model, torch.randn(10, model.encode_images(images_NCHW).shape[1]))
    def step():
        tower(images_NCHW)
for _ in range(3): step()
began, steps = time.monotonic(), 0
while time.monotonic() - began < seconds:
    step()
    steps += 1
print(steps / (time.monotonic() - began))
"""


@contextmanager
def neighbour(wanted: bool) -> Iterator[None]:
    """A process that is always busy."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def rate(cell: str, setting: str, seconds: float) -> float:
    """Steps a second."""
    others = ("OMP_", "GOMP_", "KMP_", "MKL_")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, cell, str(seconds)],
        env=plain | SETTINGS[setting],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def measure(cells: Sequence[str], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Every one of these cells under every setting, quiet and beside a neighbour."""
    found: dict[tuple[str, str, bool], list[float]] = {}
    for _ in range(rounds):
        for cell, busy, setting in product(cells, (False, True), SETTINGS):
            with neighbour(busy):
                found.setdefault((cell, setting, busy), []).append(rate(cell, setting, seconds))
    return [
        {"cell": cell, "setting": setting, "busy": busy, "rate": statistics.median(rates)}
        for (cell, setting, busy), rates in found.items()
    ]


def show(rows: list[dict[str, Any]]) -> None:
    """A line for each cell and setting, with what is left of it beside a neighbour."""
    print(f"{'cell':8} {'setting':10} {'quiet':>9} {'busy':>9} {'busy/quiet':>10}")
    rates = {(row["cell"], row["setting"], row["busy"]): row["rate"] for row in rows}
    for cell, setting in product(dict.fromkeys(row["cell"] for row in rows), SETTINGS):
        quiet, busy = rates[cell, setting, False], rates[cell, setting, True]
        print(f"{cell:8} {setting:10} {quiet:9.2f} {busy:9.2f} {busy / quiet:10.2f}")


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round; stores nothing")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = measure(CELLS[1:2], 1, 0.3) if options.quick else measure(CELLS, options.rounds, 3.0)
    show(rows)
    if not options.quick:
        write_results(RESULTS / "threads.json", {"rows": rows})


if __name__ == "__main__":
    main()
