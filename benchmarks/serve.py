"""The service against a bare loop over the same model, and against LitServe.

    python benchmarks/serve.py --litserve PYTHON [--models carot-mini ViT-B-32] [--rounds 5]

From JPEG files of 500 x 375 pixels to answers, decoding included, with 1, 8 and 64 clients that
ask without a pause. The bare loop decodes, transforms and classifies in one process, one image
after the other against one client, in batches of as many images against more. Against one client
the same loop behind a single FastAPI route runs as well, for the least that HTTP costs. LitServe
runs twice, without batches and with batches like the service's, and the better of the two counts
for each number of clients; PYTHON is an interpreter that has LitServe and this project. All of them
use the same number of threads, and the clients run on the same machine as the servers.

Ways take turns, and what is reported is the median over rounds of ratios within a round, so that
whatever else the machine does hits all of them alike. Each turn starts its server and ends it: no
other is there meanwhile (LitServe's are busy also when nobody asks them), and none has waited for
its turn (a virtual machine may take idle memory away, and what comes back is slower for a while).
Requests that do not count warm it up.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks import serve_contenders as contenders
from benchmarks.decoding import photograph
from benchmarks.provenance import RESULTS, write_results
from benchmarks.serve_load import Figures, alone, form, run, together

IMAGES = 16
CLIENTS = (1, 8, 64)
BATCH, WAIT_SECONDS = 64, 0.01
COUNTS = {
    "carot-mini": {1: 40, 8: 160, 64: 256},
    "ViT-B-32": {1: 12, 8: 48, 64: 64},
}
"""Requests in a round, by clients."""
Way = Callable[[int, int], Figures]
"""From clients and requests to figures."""
Opened = Callable[[Path], AbstractContextManager[Way]]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=COUNTS, default=list(COUNTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each model")
    parser.add_argument("--litserve", type=Path, help="an interpreter; without one it is left out")
    parser.add_argument("--clients", nargs="+", type=int, default=list(CLIENTS))
    parser.add_argument("--json", type=Path, default=RESULTS / "serve.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = [photograph("JPEG", 500, 375, 4 + i % 4) for i in range(IMAGES)]
    models = {name: measure(name, images, options) for name in options.models}
    for name, rows in models.items():
        show(name, rows)
    document = {
        "image": {"format": "JPEG", "width": 500, "height": 375, "bytes": len(images[0])},
        "rounds": options.rounds,
        "threads": options.threads,
        "models": models,
    }
    write_results(options.json, document)


def measure(name: str, images: list[bytes], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one model, by number of clients."""
    found: dict[int, dict[str, list[Figures]]] = {n: {} for n in options.clients}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "checkpoint"
        contenders.make_checkpoint(name, folder)
        ways = ways_of(folder, images, options)
        labels = list(ways)
        for number in range(options.rounds):
            for label in labels[number % len(labels) :] + labels[: number % len(labels)]:
                counted = [n for n in options.clients if n == 1 or label != "endpoint"]
                with tempfile.TemporaryDirectory() as scratch, ways[label](Path(scratch)) as way:
                    way(1, 3)  # loaded
                    for n in counted:
                        way(n, max(n, COUNTS[name][n] // 2))  # warm
                        found[n].setdefault(label, []).append(way(n, COUNTS[name][n]))
            for n, by_label in found.items():
                last = {label: [round(x, 1) for x in by_label[label][-1]] for label in by_label}
                print(name, n, last, flush=True)
    return [row(n, COUNTS[name][n], by_label) for n, by_label in found.items()]


def ways_of(folder: Path, images: list[bytes], options: argparse.Namespace) -> dict[str, Opened]:
    """What serves a checkpoint, by name; each is there while its context is, and has a folder."""

    @contextmanager
    def bare(_: Path) -> Iterator[Way]:
        model = contenders.Bare(folder)

        def loop(clients: int, count: int) -> Figures:
            if clients == 1:
                return alone(lambda content: model.answer([content]), images, count)
            return together(model.answer, images, min(clients, BATCH), count)

        yield loop

    def over_http(server: Callable[[Path], AbstractContextManager[contenders.Server]]) -> Opened:
        @contextmanager
        def opened(scratch: Path) -> Iterator[Way]:
            with server(scratch) as running:
                fields, headers = running.fields, running.headers
                requests = [form(image, "images", fields, headers) for image in images]
                yield lambda clients, count: run(running.port, requests, clients, count)

        return opened

    def litserve(batch: int) -> Opened:
        python, threads = options.litserve, options.threads
        return over_http(
            lambda scratch: contenders.litserve(
                python, folder, scratch / "log", threads, batch, WAIT_SECONDS
            )
        )

    ways: dict[str, Opened] = {
        "bare": bare,
        "service": over_http(
            lambda scratch: contenders.service(folder, scratch / "data", options.threads)
        ),
    }
    if options.litserve:
        ways |= {"litserve": litserve(1), "litserve, batched": litserve(BATCH)}
    ways["endpoint"] = over_http(
        lambda scratch: contenders.endpoint(folder, scratch / "log", options.threads)
    )
    return ways


def row(clients: int, count: int, found: dict[str, list[Figures]]) -> dict[str, Any]:
    """Medians over rounds for one number of clients, and of the ratios within each round."""
    medians = {
        label: {
            field: round(statistics.median(getattr(each, field) for each in figures), 2)
            for field in Figures._fields
        }
        for label, figures in found.items()
    }
    result: dict[str, Any] = {"clients": clients, "requests": count, "medians": medians}
    result["throughput_to_bare"] = median_ratio(found["service"], found["bare"])
    result["added_p50_milliseconds"] = added(found["service"], found["bare"])
    if "endpoint" in found:
        result["endpoint_added_p50_milliseconds"] = added(found["endpoint"], found["bare"])
    others = [label for label in found if label.startswith("litserve")]
    if others:
        best = max(others, key=lambda label: medians[label]["images_per_second"])
        result["litserve"] = {
            "way": best,
            "throughput": median_ratio(found["service"], found[best]),
            "p50": median_ratio(found["service"], found[best], "p50"),
            "p99": median_ratio(found["service"], found[best], "p99"),
        }
    return result


def added(mine: list[Figures], bare: list[Figures]) -> float:
    """The median over rounds of how much longer the median request takes, in milliseconds."""
    pairs = zip(mine, bare, strict=True)
    return round(statistics.median(a.p50 - b.p50 for a, b in pairs), 2)


def median_ratio(
    mine: list[Figures], others: list[Figures], field: str = "images_per_second"
) -> float:
    """The median over rounds of one figure of `mine` to that of `others`."""
    pairs = zip(mine, others, strict=True)
    ratios = [float(getattr(a, field)) / float(getattr(b, field)) for a, b in pairs]
    return round(statistics.median(ratios), 3)


def show(name: str, rows: list[dict[str, Any]]) -> None:
    """The table of one model."""
    print(f"\n{name}\n{'clients':>8}{'way':>20}{'images/s':>10}{'p50 ms':>10}{'p99 ms':>10}")
    for each in rows:
        for label, figures in each["medians"].items():
            print(
                f"{each['clients']:8}{label:>20}" + "".join(f"{n:10.1f}" for n in figures.values())
            )
        print(f"{'':8}{'to bare':>20}{each['throughput_to_bare']:10.3f}", end="")
        print(f"{each['added_p50_milliseconds']:+10.2f}")
        if "endpoint_added_p50_milliseconds" in each:
            least = each["endpoint_added_p50_milliseconds"]
            print(f"{'':8}{'HTTP alone':>20}{'':10}{least:+10.2f}")
        if "litserve" in each:
            ratios = [each["litserve"][key] for key in ("throughput", "p50", "p99")]
            print(f"{'':8}{'to LitServe':>20}" + "".join(f"{n:10.3f}" for n in ratios))


if __name__ == "__main__":
    main()
