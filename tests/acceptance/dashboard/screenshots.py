"""Pictures of the dashboard's pages: `python -m tests.acceptance.dashboard.screenshots FOLDER`.

What is in them was done for them: `story.py` trains, asks and measures on a service of its own.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import FilePayload, Page, expect, sync_playwright

from tests.acceptance.dashboard.conftest import FLAGS, TIMEOUT_MS, chromium
from tests.acceptance.dashboard.story import deploy, images, live
from tests.programs import Unavailable

CHARTS = ".chart:visible svg.main-svg"
PANEL = "[role=tabpanel]:not([hidden])"
TABLE = f"{PANEL} tbody tr"
SHORT, SCREEN, TALL = (1280, 400), (1280, 860), (1280, 1060)
PHONE = (390, 844)


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        address: behind the `#`; words in braces are ids of the story.
        ready: what is there once the page is complete.
        act: what is done on the page before, given the ids.
    """

    name: str
    address: str
    ready: str
    colours: Literal["light", "dark"] = "light"
    size: tuple[int, int] = SCREEN
    act: Callable[[Page, Mapping[str, str]], None] | None = None


def try_hardest(page: Page, ids: Mapping[str, str]) -> None:
    """Let the model look at the test image of which it is least sure."""
    name, content, _ = images()[int(ids["hardest"])]
    file: FilePayload = {"name": name, "mimeType": "image/png", "buffer": content}
    page.get_by_label("Image file").set_input_files([file])
    page.locator(".said").wait_for()
    page.locator(".said").scroll_into_view_if_needed()


def recalibrate(page: Page, _: Mapping[str, str]) -> None:
    """Recalibrate the model, if the labels say that this is better."""
    page.get_by_role("button", name="Try it: a dry run").click()
    found = page.get_by_text(re.compile("It would be better|It is not shown to be better"))
    found.wait_for()
    using = page.get_by_role("button", name="Use it", exact=True)
    if using.is_visible():
        using.click()
        page.get_by_role("dialog").get_by_role("button", name="Recalibrate").click()
        page.get_by_text("It is used from now on.").wait_for()
        expect(page.locator(".toast")).to_have_count(0)


SHOTS = (
    Shot("dashboard-jobs", "/jobs", "tbody tr"),
    Shot("dashboard-jobs-dark", "/jobs", "tbody tr", "dark"),
    Shot("dashboard-jobs-phone", "/jobs", "tbody tr", size=PHONE),
    Shot("dashboard-job", "/jobs/{made}", CHARTS, size=TALL),
    Shot("dashboard-job-dark", "/jobs/{running}", CHARTS, "dark", TALL),
    Shot("dashboard-job-failed", "/jobs/{failed}", ".timeline li"),
    Shot(
        "dashboard-spec",
        "/jobs/{made}?tab=spec",
        "[role=tabpanel]:not([hidden]) tbody tr",
    ),
    Shot("dashboard-models", "/models", "tbody .badge"),
    Shot("dashboard-model", "/models/digits-production", "circle.live", size=TALL),
    Shot("dashboard-model-alert", "/models/digits-night", "circle.live", "dark", TALL),
    Shot("dashboard-model-phone", "/models/digits-night", "circle.live", size=PHONE),
    Shot("dashboard-promote", "/models/digits-production?tab=history", f"{PANEL} td"),
    Shot("dashboard-recalibrate", "/models/digits-night?tab=calibrators", PANEL, act=recalibrate),
    Shot("dashboard-try", "/try?model=digits-production", ".drop", size=TALL, act=try_hardest),
    Shot("dashboard-datasets", "/datasets", "tbody tr", size=SHORT),
    Shot("dashboard-dataset", "/datasets/{dataset}", ".samples img"),
    Shot("dashboard-workers", "/workers", "tbody tr", size=SHORT),
    Shot(
        "dashboard-try-phone", "/try?model=digits-production", ".drop", "dark", PHONE, try_hardest
    ),
    Shot("dashboard-new", "/new?from={made}", "h1:has-text('New job')"),
    Shot("dashboard-new-phone", "/new", "h1:has-text('New job')", "dark", size=PHONE),
    Shot("dashboard-compare", "/compare?{both}", "tbody tr"),
    Shot("dashboard-report", "/reports/{report}", CHARTS),
    Shot("dashboard-reliability", "/reports/{report}?tab=reliability", CHARTS, "dark"),
    Shot("dashboard-calibrators", "/reports/{report}?tab=calibrators", TABLE),
    Shot("dashboard-promises", "/reports/{report}?tab=promises", TABLE),
    Shot("dashboard-mistakes", "/reports/{report}?tab=mistakes", ".mistake"),
    Shot("dashboard-report-phone", "/reports/{report}", "tbody tr", size=PHONE),
)


def take(page: Page, url: str, shot: Shot, ids: Mapping[str, str], folder: Path) -> None:
    """Take one picture."""
    page.set_viewport_size({"width": shot.size[0], "height": shot.size[1]})
    page.emulate_media(color_scheme=shot.colours, reduced_motion="reduce")
    page.goto("about:blank")  # else the page before may still be there
    page.goto(f"{url}/#{shot.address.format_map(ids)}")
    page.locator(shot.ready).first.wait_for()
    if shot.ready == CHARTS:
        page.wait_for_function(
            "() => [...document.querySelectorAll('.chart:not([hidden])')].filter((each) =>"
            " each.checkVisibility() && each.getBoundingClientRect().top < innerHeight)"
            ".every((each) => each.querySelector('svg.main-svg'))"
        )
    if shot.act is not None:
        shot.act(page, ids)
    page.wait_for_function(
        "() => [...document.images].every((each) => each.complete"
        " || each.getBoundingClientRect().top > innerHeight)"
    )
    page.wait_for_timeout(500)  # charts settle into their places
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    # A page has few colours: a palette of them looks the same in half the bytes.
    few = taken.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(folder / f"{shot.name}.png", optimize=True)


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
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        deployment = deploy(Path(scratch))
        try:
            ids = live(deployment, Path(scratch))
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page(locale="en-GB")
            page.set_default_timeout(TIMEOUT_MS)
            for shot in SHOTS:
                if not arguments.names or shot.name in arguments.names:
                    take(page, deployment.client.url, shot, ids, arguments.folder)
            browser.close()
        finally:
            deployment.stop()


if __name__ == "__main__":
    main()
