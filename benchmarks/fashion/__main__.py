"""Every method on the fashion suite, in three protocols, and whether the project's claims hold.

    python -m benchmarks.fashion [--quick] [--workers 2] [--rows NAME ...] [--out FILE]

Needs Fashion-MNIST (`apt-get install dataset-fashion-mnist`, or `make bench-data`). Prints tables
and claims, writes JSON and the page docs/results.md. Finished runs are kept under --runs and not
done again, so a run that was stopped goes on. `--quick` does the same on 16 pictures: it shows that
everything runs, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fashion.collect import collect
from benchmarks.fashion.page import write_page
from benchmarks.fashion.plan import PROTOCOLS, QUICK_IMAGES, ROWS
from benchmarks.fashion.report import document_of, print_tables
from benchmarks.fashion.suite import suite
from benchmarks.provenance import RESULTS, ROOT, write_results


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then print and write everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument("--runs", type=Path, default=None, help="where runs are kept")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--page", type=Path, default=None)
    options = parser.parse_args(arguments)
    build = ROOT / "build"
    runs = options.runs or build / ("fashion-quick" if options.quick else "fashion/runs")
    quick = build / "fashion-quick.json"
    out = options.out or (quick if options.quick else RESULTS / "fashion.json")
    page = options.page or (build / "results.md" if options.quick else ROOT / "docs/results.md")
    runs.mkdir(parents=True, exist_ok=True)
    collected = collect(
        runs,
        options.workers,
        quick=options.quick,
        rows=options.rows,
        protocols=["P", *(each for each in options.protocols if each != "P")],
    )
    sets = suite(QUICK_IMAGES if options.quick else None)
    document = {"quick": options.quick, **document_of(collected, runs, sets, options.workers)}
    write_results(out, document)
    print_tables(document)
    write_page(out, page)


if __name__ == "__main__":
    main()
