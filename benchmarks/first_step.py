"""From starting a trainer to the first thing it says: a new interpreter against a fork.

    python benchmarks/first_step.py [--quick] [--rounds N]

Both train nothing: the spec names data that do not exist, so what is timed is everything that comes
before them, which is loading torch. Ways take turns; medians of wall time. Results
lie in `benchmarks/results/first_step.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.provenance import RESULTS, write_results
from worker.launch import ForkServer
from worker.trainer_process import COMMAND, TrainerProcess

SPEC = {
    "kind": "finetune",
    "model": {"architecture": "carot-mini"},
    "dataset": "folder:nowhere",
    "training": {"epochs": 1, "batch_size": 2, "learning_rate": 0.1},
}


def seconds(server: ForkServer | None) -> float:
    """Until the trainer has said why it ends, and has ended."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "spec.json").write_text(json.dumps(SPEC))
        began = time.monotonic()
        trainer = TrainerProcess(COMMAND, Path(folder), lambda _: None, server)
        while trainer.poll() is None:
            time.sleep(0.002)
        return time.monotonic() - began


def measure(rounds: int) -> list[dict[str, Any]]:
    """Medians of both ways; the fork server has loaded everything before."""
    server = ForkServer()
    seconds(server)
    times: dict[str, list[float]] = {"interpreter": [], "fork": []}
    try:
        for _ in range(rounds):
            times["interpreter"].append(seconds(None))
            times["fork"].append(seconds(server))
    finally:
        server.close()
    return [
        {
            "way": way,
            "seconds": statistics.median(found),
            "spread": [min(found), max(found)],
        }
        for way, found in times.items()
    ]


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two rounds; stores nothing")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    rows = measure(rounds)
    for row in rows:
        low, high = row["spread"]
        print(f"{row['way']:12} {row['seconds']:7.3f} s   ({low:.3f} to {high:.3f})")
    ratio = rows[1]["seconds"] / rows[0]["seconds"]
    print(f"fork / interpreter: {ratio:.3f}")
    if not options.quick:
        write_results(RESULTS / "first_step.json", {"rounds": rounds, "rows": rows, "ratio": ratio})


if __name__ == "__main__":
    main()
