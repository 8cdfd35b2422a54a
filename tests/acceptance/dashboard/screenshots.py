"""Pictures of the dashboard's pages: `python -m tests.acceptance.dashboard.screenshots FOLDER`.

What is in them was done for them: `story.py` trains, asks and measures on a service of its own.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.acceptance.dashboard.conftest import FLAGS, TIMEOUT_MS, chromium
from tests.acceptance.dashboard.shots import CHARTS, SHOTS, Shot
from tests.acceptance.dashboard.story import deploy, live
from tests.programs import Unavailable


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
    few = taken.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
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
