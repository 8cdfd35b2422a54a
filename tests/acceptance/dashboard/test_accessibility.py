"""axe-core finds no serious fault on any page, in either colours, on a screen or a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.fill import everything
from tests.acceptance.dashboard.reports import add_fine_tuned
from tests.acceptance.dashboard.serving import models, own_digits, payload, workers
from tests.acceptance.dashboard.site import Site
from tests.acceptance.dashboard.steady import DRAWN

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
SERIOUS = ("serious", "critical")


LOOKS = {  # dark, width, height; a page is opened in the first
    "phone": (False, 390, 844),
    "screen": (False, 1280, 800),
    "dark": (True, 1280, 800),
}
LOOK = """async (serious) => {
    const found = await axe.run(document, { resultTypes: ["violations"] });
    const bad = found.violations.filter((each) => serious.includes(each.impact));
    // Only what is wrong leaves the browser: all that is right is megabytes.
    return [found.passes.length, bad.map((each) => `${each.id}: ${each.help}: ` +
        each.nodes.slice(0, 3).map((node) => node.html.slice(0, 150)).join(" | "))];
}"""


def faults(page: Page) -> list[str]:
    """What axe-core finds serious, with the elements in question."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    passes, found = page.evaluate(LOOK, SERIOUS)
    assert passes > 5, "it looked at something"
    return [str(each) for each in found]


def still(page: Page) -> None:
    """Colours that fade in are no colours to be judged."""
    page.emulate_media(reduced_motion="reduce")


PAGES: dict[str, Callable[[dict[str, str]], str]] = {
    "jobs": lambda _: "#/jobs",
    "nothing found": lambda _: "#/jobs?search=nothing-like-that",
    "running": lambda ids: f"#/jobs/{ids['running']}",
    "succeeded": lambda ids: f"#/jobs/{ids['succeeded']}",
    "failed": lambda ids: f"#/jobs/{ids['failed']}",
    "events": lambda ids: f"#/jobs/{ids['succeeded']}?tab=events",
    "spec": lambda ids: f"#/jobs/{ids['succeeded']}?tab=spec",
    "snapshots": lambda ids: f"#/jobs/{ids['succeeded']}?tab=snapshots",
    "models": lambda _: "#/models",
    "model": lambda _: "#/models/digits-production",
    "alert": lambda _: "#/models/digits-night",
    "versions": lambda _: "#/models/digits-night?tab=calibrators",
    "promoting": lambda _: "#/models/digits-night?tab=history",
    "remembered": lambda _: "#/models/digits-night?tab=log",
    "no answers": lambda _: "#/models/digits-new",
    "try": lambda _: "#/try?model=digits-production",
    "data sets": lambda _: "#/datasets",
    "data set": lambda ids: f"#/datasets/{ids['dataset']}",
    "data set classes": lambda ids: f"#/datasets/{ids['dataset']}?tab=classes",
    "workers": lambda _: "#/workers",
    "report": lambda ids: f"#/reports/{ids['report']}",
    "reliability": lambda ids: f"#/reports/{ids['report']}?tab=reliability",
    "calibrators": lambda ids: f"#/reports/{ids['report']}?tab=calibrators",
    "promises": lambda ids: f"#/reports/{ids['report']}?tab=promises",
    "candidates": lambda ids: f"#/reports/{ids['report']}?tab=candidates",
    "classes": lambda ids: f"#/reports/{ids['report']}?tab=classes",
    "mistakes": lambda ids: f"#/reports/{ids['report']}?tab=mistakes",
    "new": lambda _: "#/new",
    "clone": lambda ids: f"#/new?from={ids['succeeded']}",
    "choose": lambda _: "#/compare",
    "compare": lambda ids: f"#/compare?{ids['both']}",
    "nowhere": lambda _: "#/nowhere",
}

READY = {
    "jobs": "tbody tr",
    "nothing found": ".empty",
    "running": ".chart svg.main-svg",
    "succeeded": ".chart svg.main-svg",
    "events": "tbody tr",
    "models": "tbody .badge",
    "model": "circle.live",
    "alert": "circle.live",
    "promoting": "[role=tabpanel]:not([hidden]) tbody tr",
    "no answers": ".empty",
    "try": ".drop",
    "data sets": "tbody tr",
    "data set": ".samples img",
    "workers": "tbody tr",
    "report": "tbody:visible tr",
    "reliability": ".chart:visible svg.main-svg",
    "classes": "tbody:visible tr",
    "mistakes": ".mistake",
    "compare": "tbody tr",
}
"""What a page shows once it is complete."""


def test_pages_have_no_serious_fault(site: Site, window: Window) -> None:
    page, ids = window.page, everything(site.database) | models(site)
    ids["dataset"] = own_digits(site)
    workers(site)
    made, other = (add_fine_tuned(site.database, site.artifacts, name) for name in ("a", "b"))
    both = f"checkpoint={made['checkpoint']}&checkpoint={other['checkpoint']}"
    ids |= {"report": made["report"], "both": both}
    still(page)
    for name, address in PAGES.items():
        page.goto("about:blank")  # within one document the page before would still be there
        for look, (dark, width, height) in LOOKS.items():
            page.emulate_media(color_scheme="dark" if dark else "light")
            page.set_viewport_size({"width": width, "height": height})
            if page.url == "about:blank":
                page.goto(f"{site.url}/{address(ids)}")
            expect(page.locator("main:visible h1")).to_be_visible()
            expect(page.locator(READY.get(name, "main:visible h1")).first).to_be_visible()
            if name == "try":
                if page.locator(".said").count() == 0:
                    page.get_by_label("Image file").set_input_files([payload()])
                expect(page.locator(".said")).to_be_visible()
            page.evaluate(DRAWN)
            assert faults(page) == [], f"{name}, {look}"
            # Charts are drawn anew, once they know how wide they are.
            page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")


def test_signing_in_and_asking_have_no_serious_fault(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page, key = window.page, site.new_key()
    ids = everything(site.database)
    still(page)
    page.goto(f"{site.url}/#/jobs/{ids['running']}")
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Not signed in:")).to_be_visible()
    assert faults(page) == []
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert faults(page) == []
