"""Pictures of the dashboard's pages: `python -m tests.acceptance.dashboard.screenshots FOLDER`.

The jobs in them are written by `fill.py`; no model is trained.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, sync_playwright

from store import logs
from tests.acceptance.dashboard.conftest import FLAGS, TIMEOUT_MS, chromium
from tests.acceptance.dashboard.fill import everything
from tests.acceptance.dashboard.reports import add_fine_tuned, add_zero_shot
from tests.acceptance.dashboard.serving import models, own_digits, payload, workers
from tests.acceptance.dashboard.site import Site
from tests.programs import Unavailable

CHARTS = ".chart:visible svg.main-svg"
PANEL = "[role=tabpanel]:not([hidden])"
TABLE = f"{PANEL} tbody tr"
SCREEN, TALL, PHONE = (1280, 860), (1280, 1060), (390, 844)


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        address: behind the `#`, from the ids of the jobs.
        ready: what is there once the page is complete.
    """

    name: str
    address: Callable[[Mapping[str, str]], str]
    ready: str
    colours: Literal["light", "dark"] = "light"
    size: tuple[int, int] = SCREEN


SHOTS = (
    Shot("dashboard-jobs", lambda _: "/jobs", "tbody tr"),
    Shot("dashboard-jobs-dark", lambda _: "/jobs", "tbody tr", "dark"),
    Shot("dashboard-jobs-phone", lambda _: "/jobs", "tbody tr", size=PHONE),
    Shot("dashboard-job", lambda ids: f"/jobs/{ids['succeeded']}", CHARTS),
    Shot("dashboard-job-dark", lambda ids: f"/jobs/{ids['running']}", CHARTS, "dark"),
    Shot("dashboard-job-failed", lambda ids: f"/jobs/{ids['failed']}", ".timeline li"),
    Shot(
        "dashboard-spec",
        lambda ids: f"/jobs/{ids['succeeded']}?tab=spec",
        "[role=tabpanel]:not([hidden]) tbody tr",
    ),
    Shot("dashboard-models", lambda _: "/models", "tbody .badge"),
    Shot("dashboard-model", lambda _: "/models/digits-production", "circle.live", size=TALL),
    Shot("dashboard-model-alert", lambda _: "/models/digits-night", "circle.live", "dark", TALL),
    Shot("dashboard-model-phone", lambda _: "/models/digits-night", "circle.live", size=PHONE),
    Shot("dashboard-promote", lambda _: "/models/digits-production?tab=history", f"{PANEL} td"),
    Shot("dashboard-recalibrate", lambda _: "/models/digits-night?tab=calibrators", PANEL),
    Shot("dashboard-try", lambda _: "/try?model=digits-production", ".drop", size=TALL),
    Shot("dashboard-datasets", lambda _: "/datasets", "tbody tr"),
    Shot("dashboard-dataset", lambda ids: f"/datasets/{ids['dataset']}", ".samples img"),
    Shot("dashboard-workers", lambda _: "/workers", "tbody tr"),
    Shot("dashboard-try-phone", lambda _: "/try?model=digits-production", ".drop", "dark", PHONE),
    Shot("dashboard-new", lambda ids: f"/new?from={ids['succeeded']}", "h1:has-text('New job')"),
    Shot("dashboard-new-phone", lambda _: "/new", "h1:has-text('New job')", "dark", size=PHONE),
    Shot("dashboard-compare", lambda ids: f"/compare?{ids['both']}", "tbody tr"),
    Shot("dashboard-report", lambda ids: f"/reports/{ids['report']}", CHARTS),
    Shot(
        "dashboard-reliability",
        lambda ids: f"/reports/{ids['report']}?tab=reliability",
        CHARTS,
        "dark",
    ),
    Shot("dashboard-calibrators", lambda ids: f"/reports/{ids['report']}?tab=calibrators", TABLE),
    Shot("dashboard-promises", lambda ids: f"/reports/{ids['report']}?tab=promises", TABLE),
    Shot("dashboard-mistakes", lambda ids: f"/reports/{ids['report']}?tab=mistakes", ".mistake"),
    Shot("dashboard-report-phone", lambda ids: f"/reports/{ids['report']}", "tbody tr", size=PHONE),
)


def take(page: Page, url: str, shot: Shot, ids: Mapping[str, str], folder: Path) -> None:
    """Take one picture."""
    page.set_viewport_size({"width": shot.size[0], "height": shot.size[1]})
    page.emulate_media(color_scheme=shot.colours, reduced_motion="reduce")
    page.goto(f"{url}/#{shot.address(ids)}")
    page.locator(shot.ready).first.wait_for()
    if shot.ready == CHARTS:
        page.wait_for_function(
            "() => [...document.querySelectorAll('.chart:not([hidden])')].filter((each) =>"
            " each.checkVisibility() && each.getBoundingClientRect().top < innerHeight)"
            ".every((each) => each.querySelector('svg.main-svg'))"
        )
    if shot.name.startswith("dashboard-try"):
        page.get_by_label("Image file").set_input_files([payload()])
        page.locator(".said").wait_for()
    page.wait_for_function(
        "() => [...document.images].every((each) => each.complete"
        " || each.getBoundingClientRect().top > innerHeight)"
    )
    page.wait_for_timeout(500)  # charts settle into their places
    page.screenshot(path=folder / f"{shot.name}.png")


def main() -> None:
    """Take all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="only these")
    arguments = parser.parse_args()
    try:
        path = chromium()
    except Unavailable as missing:
        sys.exit(str(missing))
    logs.configure("screenshots", "WARNING")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        site = Site(Path(scratch))
        site.start()
        try:
            ids = everything(site.database) | models(site)
            ids["dataset"] = own_digits(site)
            workers(site)
            add_zero_shot(site.database, site.artifacts)
            made = add_fine_tuned(site.database, site.artifacts)
            other = add_fine_tuned(site.database, site.artifacts, "digits, FLYP", 4.0)
            both = f"checkpoint={made['checkpoint']}&checkpoint={other['checkpoint']}"
            ids |= {"report": made["report"], "both": both}
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page(locale="en-GB")
            page.set_default_timeout(TIMEOUT_MS)
            for shot in SHOTS:
                if not arguments.names or shot.name in arguments.names:
                    take(page, site.url, shot, ids, arguments.folder)
            browser.close()
        finally:
            site.close()


if __name__ == "__main__":
    main()
