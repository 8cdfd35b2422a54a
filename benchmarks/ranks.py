"""What a training step costs on one process and on several, on this machine.

    python -m benchmarks.ranks [--processes 2] [--batch 256] [--steps 15] [--rounds 3]

Fine-tunes carot-mini on the bundled digits with CaRot, as a worker starts it: one process with one
thread, one with a thread for each core, and several that share the cores. The ways take turns.
Prints the median time of a step, its ratio to one process with all cores, and the loss of the last
step, which is the same for all but for the order of sums. Where processes have GPUs of their own
they gain by the number of GPUs; processes that share cores only pay for talking to each other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.provenance import RESULTS, write_results
from carot.events import EVENT, StepDone
from worker.trainer_process import TrainerProcess, trainer_command

WARM_UP = 3


@dataclass(frozen=True)
class Way:
    """So many processes of so many threads each."""

    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{self.processes} x {self.threads}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS / "ranks.json")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    alone = Way(1, cores)
    ways = dict.fromkeys(
        [Way(1, 1), alone, Way(options.processes, max(1, cores // options.processes))]
    )
    seconds: dict[Way, list[float]] = {way: [] for way in ways}
    losses: dict[Way, float] = {}
    for _ in range(options.rounds):
        for way in ways:
            found, losses[way] = measure(way, options.batch, options.steps)
            seconds[way] += found
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    load = os.getloadavg()[2]
    print(f"carot-mini, batch {options.batch}, {options.rounds} x {options.steps} steps")
    print(f"{cores} cores, load average {load:.1f}: what others run here is in these figures")
    print(f"{'processes x threads':>20}{'s / step':>10}{'speed':>8}{'loss':>12}")
    for way, median in medians.items():
        print(f"{way!s:>20}{median:10.3f}{medians[alone] / median:8.2f}{losses[way]:12.6f}")
    rows = [
        {
            "processes": way.processes,
            "threads": way.threads,
            "seconds_per_step": medians[way],
            "speed": medians[alone] / medians[way],
            "loss": losses[way],
            "steps": seconds[way],
        }
        for way in ways
    ]
    settings = {"batch": options.batch, "steps": options.steps, "rounds": options.rounds}
    machine = {"cores": cores, "load_average": load}
    write_results(options.json, {"settings": settings | machine, "rows": rows})


def measure(way: Way, batch: int, steps: int) -> tuple[list[float], float]:
    """Seconds of each step behind the first few, and the loss of the last."""
    training = {"batch_size": batch, "epochs": 1000, "learning_rate": 1e-4}
    spec = {
        "kind": "finetune",
        "model": {"architecture": "carot-mini"},
        "dataset": "builtin:digits",
        "method": {"name": "carot"},
        "training": training | {"snapshot_every": 10**6},
    }
    seen: list[tuple[float, StepDone]] = []

    def note(line: bytes) -> None:
        event = EVENT.validate_json(line)
        if isinstance(event, StepDone):
            seen.append((time.perf_counter(), event))

    os.environ["OMP_NUM_THREADS"] = str(way.threads)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        trainer = TrainerProcess(trainer_command(way.processes), Path(folder), note)
        try:
            while len(seen) < WARM_UP + steps:
                if trainer.poll() is not None:
                    raise SystemExit(f"the trainer has ended: {trainer.last_words()}")
                time.sleep(0.05)
        finally:
            trainer.close()
    times = [at for at, _ in seen[WARM_UP - 1 : WARM_UP + steps]]
    return [b - a for a, b in pairwise(times)], seen[WARM_UP + steps - 1][1].loss


if __name__ == "__main__":
    main()
