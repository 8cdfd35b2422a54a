"""Does every job come to its right end, once, whatever fails around it?

    python benchmarks/chaos.py [--quick] [--fault NAME]… [--world deployed|embedded] [--jobs N]
                               [--strikes N] [--seed N] [--again | --keep] [--json FILE]

Real processes, real Postgres and Redis. Under each fault of `tests/acceptance/chaos/faults.py`, at
random moments, a batch of short jobs runs: fine-tuning by three methods, evaluations, jobs on data
that cannot be read, jobs that their owner cancels. Once as the service is deployed (two API
processes, two workers, Postgres, Redis), once as it is embedded (one API process, one worker,
SQLite, folders). Afterwards all that `invariants.py` lists must hold; among it that the weights of
each checkpoint equal, byte for byte, those of the same spec run without service and faults.

- injected: how often the fault struck (of messages: how many were dropped, doubled or delayed);
- lost: jobs that did not end in their right state with, if that is failure, the right reason;
- duplicated: jobs, results or live writers of a job that there are two of;
- recover: mean seconds from a strike, outage and lease included, until what it hit made progress:
  the job's next claim or end (trainer, worker, SIGSTOP, sweepers), an answer of `/health/ready`
  (API), no job waiting beside an idle worker (Redis; messages, from the end of the meddling), the
  next write about a job (Postgres, disk);
- attempts: claims of all jobs of the batch;
- refused: workers that came back from the past and were told that the job is no longer theirs;
- retried: tries that a person had to ask for, only where the disk was full: a job that has no room
  for its results fails and says so;
- no space: events that tell of a full disk. In the embedded service the database lies on that disk,
  too, and nobody can write any; the worker then loses its lease.

Results are written after each row, which says of which commit it is. What is there for the same
seed, size and commit is not measured again unless `--again` says so; with `--keep`, nor is what an
earlier commit left without a fault.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.provenance import RESULTS, STARTED, write_results
from tests.acceptance.chaos import material
from tests.acceptance.chaos.faults import FAULTS
from tests.acceptance.chaos.trial import exhaust, run
from tests.acceptance.chaos.world import LEASE_SECONDS, WORLDS

WIDTH = 130
COLUMNS = {
    "fault": "fault", "world": "world", "times": "injected", "jobs": "jobs", "lost": "lost",
    "duplicated": "duplicated", "recover_seconds": "recover, s", "attempts": "attempts",
    "refused": "refused", "retried": "retried",
    "no_space": "no space", "seconds": "took, s",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="batches of 6 jobs")
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="only this one")
    parser.add_argument("--world", action="append", choices=list(WORLDS), help="only this one")
    parser.add_argument("--jobs", type=int, help="jobs of a batch; by default 30")
    parser.add_argument("--strikes", type=int, help="of each fault; by default its own number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    parser.add_argument("--keep", action="store_true", help="leave rows of earlier commits")
    parser.add_argument("--json", type=Path, default=RESULTS / "chaos.json")
    options = parser.parse_args(arguments)
    jobs = options.jobs or (6 if options.quick else 30)
    known = measured(options.json, options.seed, jobs, of_any=options.keep)
    known = [] if options.again else known
    wanted = [
        (world, fault)
        for world in options.world or WORLDS
        for fault in options.fault or FAULTS
        if world in FAULTS[fault].worlds
    ]
    rows = [row for row in known if (row["world"], row["fault"]) in wanted]
    console = Console(width=max(WIDTH, Console().width))
    with tempfile.TemporaryDirectory(prefix="carot-chaos-") as folder:
        made = material.make(Path(folder, "material"))
        for row in trials(wanted, rows, made, console, options.seed, jobs, options.strikes):
            rows.append(row)
            rows.sort(key=lambda row: wanted.index((row["world"], row["fault"])))
            write(options.json, rows, options.seed, jobs)
    console.print(table(rows))
    wrong = [f"{r['world']}, {r['fault']}: {line}" for r in rows for line in r["wrong"]]
    for line in wrong:
        console.print(line, highlight=False, markup=False)
    return 1 if wrong else 0


def trials(
    wanted: Sequence[tuple[str, str]],
    known: Sequence[dict[str, Any]],
    made: Path,
    console: Console,
    seed: int,
    jobs: int,
    strikes: int | None,
) -> Iterator[dict[str, Any]]:
    """Each trial that is not known yet, in a world of its own."""
    done = {(row["world"], row["fault"]) for row in known}
    for kind, name in [each for each in wanted if each not in done]:
        with tempfile.TemporaryDirectory(prefix="carot-chaos-") as folder:
            world = WORLDS[kind](Path(folder), made, seed)
            try:
                world.start_all()
                row = run(world, FAULTS[name](), seed=seed, jobs=jobs, times=strikes).document()
                if name == "kill -9 trainer" and kind == "deployed":
                    ended = exhaust(world, seed)
                    row["exhausted"] = {key: ended[key] for key in ("state", "attempts", "error")}
            finally:
                world.close()
        console.print(
            f"{kind}, {name}: {row['times']} injected, {row['lost']} lost, {row['duplicated']} "
            f"duplicated, {len(row['wrong'])} wrong, {row['seconds']:.0f} s"
        )
        yield row | {"commit": STARTED["commit"]}


def measured(path: Path, seed: int, jobs: int, *, of_any: bool = False) -> list[dict[str, Any]]:
    """Rows without a fault that are there for the same seed, size and, unless any, commit."""
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if (document["seed"], document["jobs_per_batch"]) != (seed, jobs):
        return []
    same = [row for row in document["rows"] if of_any or row["commit"] == STARTED["commit"]]
    return [row for row in same if not row["wrong"]]


def write(path: Path, rows: Sequence[dict[str, Any]], seed: int, jobs: int) -> None:
    document = {"seed": seed, "jobs_per_batch": jobs, "lease_seconds": LEASE_SECONDS, "rows": rows}
    write_results(path, document)


def table(rows: Sequence[dict[str, Any]]) -> Table:
    found = Table(title="faults over batches of short jobs", box=SIMPLE_HEAD)
    for key, title in COLUMNS.items():
        left = key in ("fault", "world")
        found.add_column(title, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        found.add_row(*(shown(row[key]) for key in COLUMNS))
    return found


def shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
