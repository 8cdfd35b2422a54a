"""Which pictures there are: of which page, in which colours and size, and what is done before."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from playwright.sync_api import FilePayload, Page, expect

from tests.acceptance.dashboard.asking import images

CHARTS = ".chart:visible svg.main-svg"
PANEL = "[role=tabpanel]:not([hidden])"
TABLE = f"{PANEL} tbody tr"
SHORT, SCREEN, TALL = (1280, 400), (1280, 860), (1280, 1060)
PHONE, TALL_PHONE = (390, 844), (390, 1200)


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
    page.get_by_role("button", name="Dry run").click()
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
    Shot("dashboard-model-phone", "/models/digits-night", "circle.live", size=TALL_PHONE),
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
