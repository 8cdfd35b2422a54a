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

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
SERIOUS = ("serious", "critical")


def faults(page: Page) -> list[str]:
    """What axe-core finds serious, with the elements in question."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document)")
    assert len(found["passes"]) > 5, "it looked at something"
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:150] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]


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


@pytest.mark.parametrize(("colours", "phone"), [("light", False), ("dark", False), ("light", True)])
def test_pages_have_no_serious_fault(site: Site, window: Window, colours: str, phone: bool) -> None:
    page, ids = window.page, everything(site.database) | models(site)
    ids["dataset"] = own_digits(site)
    workers(site)
    made, other = (add_fine_tuned(site.database, site.artifacts, name) for name in ("a", "b"))
    both = f"checkpoint={made['checkpoint']}&checkpoint={other['checkpoint']}"
    ids |= {"report": made["report"], "both": both}
    page.emulate_media(color_scheme="dark" if colours == "dark" else "light")
    still(page)
    if phone:
        page.set_viewport_size({"width": 390, "height": 844})
    for name, address in PAGES.items():
        page.goto("about:blank")  # within one document the page before would still be there
        page.goto(f"{site.url}/{address(ids)}")
        expect(page.locator("main:visible h1")).to_be_visible()
        ready = page.locator(READY.get(name, "main:visible h1")).first
        expect(ready).to_be_visible()
        if name == "try":
            page.get_by_label("Image file").set_input_files([payload()])
            expect(page.locator(".said")).to_be_visible()
        assert faults(page) == [], name
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is wider than the window"


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
