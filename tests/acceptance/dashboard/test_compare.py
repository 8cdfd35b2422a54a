"""The page that puts models side by side: what differs, and what is more than chance."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.fill import HOSTILE
from tests.acceptance.dashboard.reports import ROWS, add_fine_tuned, add_zero_shot
from tests.acceptance.dashboard.site import Site

pytestmark = pytest.mark.acceptance


def test_two_checkpoints_are_chosen_and_compared(site: Site, page: Page) -> None:
    good = add_fine_tuned(site.database, site.artifacts, "good")
    other = add_fine_tuned(site.database, site.artifacts, HOSTILE[0], 3.0)
    page.goto(f"{site.url}/#/compare")
    act = page.get_by_role("button", name="Compare")
    expect(act).to_be_disabled()
    for i, each in enumerate((good, other), start=1):
        page.get_by_role("combobox", name=f"Checkpoint {i}").click()
        expect(page.get_by_role("option")).to_have_count(2)
        page.get_by_role("option", name=each["checkpoint"]).click()
    act.click()
    legend = page.locator(".legend li")
    expect(legend).to_have_text([re.compile("^A good"), re.compile("^B <script>")])
    table = page.get_by_role("table", name="Differences")
    expect(table.locator("tbody tr")).to_have_count(4 * len(ROWS))
    accuracy = table.get_by_role("row", name=re.compile("^test ID B − A accuracy"))
    expect(accuracy).to_contain_text("points")
    expect(accuracy).to_contain_text("worse")
    expect(page.get_by_text(re.compile(r"of 16 differences significant"))).to_be_visible()
    expect(page.get_by_role("table", name="Figures").locator("tbody tr")).to_have_count(
        2 * len(ROWS)
    )
    chart = page.locator(".chart").first
    chart.scroll_into_view_if_needed()
    expect(chart.locator("svg.main-svg").first).to_be_visible()
    names = chart.locator(".chart-place").evaluate("each => each.data.map((line) => line.name)")
    assert names == ["ideal", "A", "B"]
    page.get_by_role("link", name="Compare raw confidences").click()
    expect(page.get_by_role("link", name="Compare calibrated confidences")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("link", name="Compare raw confidences")).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_a_report_leads_to_its_start(site: Site, page: Page) -> None:
    add_zero_shot(site.database, site.artifacts)
    ids = add_fine_tuned(site.database, site.artifacts)
    page.goto(f"{site.url}/#/reports/{ids['report']}")
    page.get_by_role("link", name="Compare with zero-shot").click()
    expect(page.locator(".legend li")).to_have_text(
        [re.compile("^A zero-shot digits"), re.compile("^B digits, CaRot")]
    )
    page.get_by_label("only significant ones").check()
    verdicts = page.get_by_role("table", name="Differences").locator("tbody .badge:not(.live)")
    assert set(verdicts.all_inner_texts()) <= {"better", "worse"}


def test_what_cannot_be_compared_is_said(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    page.goto(f"{site.url}/#/compare")
    expect(page.get_by_text("There are fewer than two checkpoints")).to_be_visible()
    nothing = f"rep_{26 * '0'}"
    page.goto(f"{site.url}/#/compare?report={nothing}&report=rep_{26 * '1'}")
    expect(page.get_by_text("They cannot be compared:")).to_be_visible()
