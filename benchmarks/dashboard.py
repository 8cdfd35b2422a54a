"""What the dashboard costs: its first paint, its polling beside 5,000 jobs, a chart that follows.

    python benchmarks/dashboard.py [--jobs N] [--rounds N] [--seconds N] [--json FILE]

The API and a headless Chromium on this machine, SQLite, no network between them.

- page: from the click to the first paint with content, and to the list of jobs, in a browser that
  has nothing cached and in one that was here before; and the bytes that came, headers included;
- poll: what `GET /jobs?updated_after=` takes and weighs while nothing changes (304), while a job
  changes, and what a whole page of the list does; client and server in the same process' time;
- chart: time between frames while the page of a job gets new points every half second.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks.provenance import RESULTS, write_results
from store import logs
from tests.acceptance.dashboard.conftest import FLAGS, chromium
from tests.acceptance.dashboard.fill import many, new_job, start, train
from tests.acceptance.dashboard.site import Site

LISTED = "tbody th a"
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
BYTES = """() => [...performance.getEntriesByType('navigation'),
    ...performance.getEntriesByType('resource')].reduce((sum, e) => sum + e.transferSize, 0)"""
FRAMES = """(milliseconds) => new Promise((done) => {
    const frames = [];
    let last = performance.now();
    const end = last + milliseconds;
    const step = (now) => {
        frames.push(now - last);
        last = now;
        if (now < end) requestAnimationFrame(step); else done(frames.slice(1));
    };
    requestAnimationFrame(step);
})"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=15.0, help="that a chart is watched")
    parser.add_argument("--json", type=Path, default=RESULTS / "dashboard.json")
    options = parser.parse_args(arguments)
    logs.configure("dashboard", "WARNING")
    with tempfile.TemporaryDirectory(prefix="carot-dashboard-") as folder:
        site = Site(Path(folder))
        many(site.database, options.jobs)
        site.start()
        try:
            polls = poll_costs(site, options.rounds)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
                pages = page_costs(browser, site, options.rounds)
                frames = frame_times(browser, site, options.seconds)
                browser.close()
        finally:
            site.close()
    document = {"jobs": options.jobs, "pages": pages, "polls": polls, "frames_ms": frames}
    show(document)
    write_results(options.json, document)


def page_costs(browser: Browser, site: Site, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of first visits, each in a browser context of its own, and of second ones."""
    found: dict[str, list[dict[str, float]]] = {"first": [], "again": []}
    for _ in range(rounds):
        with browser.new_context() as context:
            page = context.new_page()
            for visit in found.values():
                visit.append(visited(page, site))
    return {
        visit: {name: statistics.median(row[name] for row in rows) for name in rows[0]}
        for visit, rows in found.items()
    }


def visited(page: Page, site: Site) -> dict[str, float]:
    """One visit of the jobs page."""
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(site.url)
    page.locator(LISTED).first.wait_for()
    listed = 1000 * (time.perf_counter() - began)
    painted = page.wait_for_function(PAINTED).json_value()
    return {"painted_ms": painted, "listed_ms": listed, "bytes": page.evaluate(BYTES)}


def poll_costs(site: Site, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of what the page asks for over and over."""
    held = start(site.database, new_job(site.database, "followed"))
    with httpx.Client(base_url=site.url) as client:
        newest = client.get("/jobs", params={"limit": 1}).json()["data"][0]["updated_at"]
        since = {"updated_after": newest}
        tag = client.get("/jobs", params=since).headers["etag"]

        def unchanged() -> httpx.Response:
            answer = client.get("/jobs", params=since, headers={"If-None-Match": tag})
            assert answer.status_code == 304
            return answer

        def changed() -> httpx.Response:
            answer = client.get("/jobs", params=since, headers={"If-None-Match": tag})
            assert answer.status_code == 200
            return answer

        costs = {"unchanged": measured(unchanged, rounds)}
        train(site.database, held, 40)
        costs["one job changed"] = measured(changed, rounds)
        costs["page of 50"] = measured(lambda: client.get("/jobs", params={"limit": 50}), rounds)
    return costs


def measured(ask: Callable[[], httpx.Response], rounds: int) -> dict[str, float]:
    ask()
    times, size = [], 0
    for _ in range(rounds):
        began = time.perf_counter()
        answer = ask()
        times.append(1000 * (time.perf_counter() - began))
        size = len(answer.content)
    return {"ms": statistics.median(times), "bytes": size}


def frame_times(browser: Browser, site: Site, seconds: float) -> dict[str, float]:
    """Frames of a page that draws four charts of a job anew as it trains."""
    job_id = new_job(site.database, "watched")
    held = start(site.database, job_id)
    train(site.database, held, 40)
    stopping = threading.Event()

    def training() -> None:
        step = 40
        while not stopping.wait(0.5):
            train(site.database, held, step + 8, step + 1)
            step += 8

    thread = threading.Thread(target=training)
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{site.url}/#/jobs/{job_id}")
        page.locator(".chart svg.main-svg").first.wait_for()
        thread.start()
        try:
            frames = sorted(page.evaluate(FRAMES, 1000 * seconds))
        finally:
            stopping.set()
            thread.join()
    return {
        "frames": len(frames),
        "median": statistics.median(frames),
        "p95": frames[int(0.95 * len(frames))],
        "longest": frames[-1],
    }


def show(document: dict[str, Any]) -> None:
    console = Console()
    pages = Table("visit", "first paint, ms", "list, ms", "kB", title="the page of jobs")
    for visit, row in document["pages"].items():
        sizes = f"{row['painted_ms']:.0f}", f"{row['listed_ms']:.0f}", f"{row['bytes'] / 1e3:.1f}"
        pages.add_row(visit, *sizes)
    polls = Table("asked for", "ms", "bytes", title=f"polls, {document['jobs']:,} jobs")
    for name, row in document["polls"].items():
        polls.add_row(name, f"{row['ms']:.1f}", f"{row['bytes']:,.0f}")
    frames = Table("frames", "median, ms", "95 %, ms", "longest, ms", title="a chart that follows")
    row = document["frames_ms"]
    frames.add_row(*(f"{row[name]:.0f}" for name in ("frames", "median", "p95", "longest")))
    for each in (pages, polls, frames):
        console.print(each)


if __name__ == "__main__":
    main()
