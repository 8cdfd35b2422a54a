"""No page jumps while it is followed, nor while it comes; docs/dashboard.md says what may move."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from store.jobs.claims import Claim, mark_not_responding
from tests.acceptance.dashboard import steady
from tests.acceptance.dashboard.fill import everything, finish, new_job, snapshot, start, train
from tests.acceptance.dashboard.reports import add_fine_tuned, add_zero_shot
from tests.acceptance.dashboard.serving import (
    answers,
    label,
    models,
    name_model,
    own_digits,
    workers,
)
from tests.acceptance.dashboard.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]
STEPS = (4, 40, 100, 240, 390)
LATER_MS = 1100
"""Within it moments are told anew, and with them the width of their text."""


def settled(page: Page) -> None:
    """Everything is there; from now on nothing is to move."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(LATER_MS)
    steady.watch(page)


def train_in_sight(site: Site, held: Claim, shown: Locator) -> None:
    """Steps of training, each of them told before the next is made."""
    for since, step in zip((0, *STEPS), STEPS, strict=False):
        train(site.database, held, step, since + 1)
        steady.ask_now(shown.page)
        expect(shown).to_contain_text(f"step {step} of 400")


def test_jobs_from_line_to_end(site: Site, page: Page) -> None:
    everything(site.database)
    job = new_job(site.database, "followed")
    page.goto(site.url)
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="followed"))
    expect(row).to_contain_text("position 3")
    page.wait_for_timeout(LATER_MS)
    steady.watch(page)
    held = start(site.database, job)
    train_in_sight(site, held, row)
    finish(site.database, held)
    steady.ask_now(page)
    expect(row).to_contain_text("succeeded")
    page.wait_for_timeout(LATER_MS)
    assert steady.jumps(page) == []


def test_a_job_from_line_to_end(site: Site, page: Page) -> None:
    job = new_job(site.database, "followed")
    page.goto(f"{site.url}/#/jobs/{job}")
    expect(page.get_by_text("No curves yet.")).to_be_visible()
    page.wait_for_timeout(LATER_MS)
    steady.watch(page)
    held = start(site.database, job)
    train_in_sight(site, held, page.locator("#main"))
    expect(page.locator(".chart svg.main-svg").first).to_be_visible()
    snapshot(site.database, held, STEPS[-1])
    with site.database.session() as session:
        mark_not_responding(session, job, 1000.0)
    steady.ask_now(page)
    expect(page.get_by_role("heading", level=1)).to_contain_text("not responding")
    page.wait_for_timeout(LATER_MS)
    assert steady.jumps(page, ".timeline") == []
    finish(site.database, held)
    steady.ask_now(page)
    expect(page.get_by_role("heading", name="Results")).to_be_visible()
    page.wait_for_timeout(LATER_MS)
    assert steady.jumps(page, ".timeline, .curves-place") == []


def test_models_as_answers_and_labels_come(site: Site, page: Page) -> None:
    ids = models(site)
    more = answers(site, "digits-production", ids["made"], 50)
    page.goto(f"{site.url}/#/models")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="digits-new"))
    expect(row).to_contain_text("no predictions")
    settled(page)
    label(site, [(id, truth) for id, _, truth in more])
    fresh = answers(site, "digits-new", ids["made"], 50)
    steady.ask_now(page)
    expect(row).to_contain_text("no labels")
    label(site, [(id, truth) for id, _, truth in fresh])
    steady.ask_now(page)
    expect(row).to_contain_text("no evidence of miscalibration")
    name_model(site, "digits-new", ids["old"])
    steady.ask_now(page)
    expect(row).to_contain_text("digits, first try")
    page.wait_for_timeout(LATER_MS)
    assert steady.jumps(page) == []


def test_a_model_from_its_first_answer_to_an_alert(site: Site, page: Page) -> None:
    ids = models(site)
    page.goto(f"{site.url}/#/models/digits-new")
    expect(page.get_by_text("No predictions since it points")).to_be_visible()
    settled(page)
    given = answers(site, "digits-new", ids["made"], 300)
    steady.ask_now(page)
    expect(page.get_by_text("0 of 300 predictions have a label")).to_be_visible()
    for until in (100, 200):
        label(site, [(id, truth) for id, _, truth in given[until - 100 : until]])
        steady.ask_now(page)
        expect(page.get_by_text(f"{until} of 300 predictions have a label")).to_be_visible()
    assert steady.jumps(page) == []
    label(site, [(id, (truth + 1) % 10) for id, _, truth in given[200:]])
    steady.ask_now(page)
    expect(page.get_by_text("its confidences are miscalibrated")).to_be_visible()
    name_model(site, "digits-new", ids["old"])
    steady.ask_now(page)
    expect(page.get_by_text("No predictions since it points")).to_be_visible()
    page.wait_for_timeout(LATER_MS)
    assert steady.jumps(page, "[role=tabpanel]") == [], "only what is under the alert"


def test_workers_that_take_a_job(site: Site, page: Page) -> None:
    workers(site)
    page.goto(f"{site.url}/#/workers")
    row = page.get_by_role("row").filter(has_text="gpu-box-2:991")
    expect(row).to_contain_text("idle")
    settled(page)
    start(site.database, new_job(site.database, "taken"), "gpu-box-2:991")
    steady.ask_now(page)
    expect(row).to_contain_text("busy")
    page.wait_for_timeout(LATER_MS)
    assert steady.jumps(page) == []


def test_rows_that_are_new_move_only_those_below(site: Site, page: Page) -> None:
    own_digits(site)
    page.goto(f"{site.url}/#/datasets")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(1)
    settled(page)
    own_digits(site)
    steady.ask_now(page)
    expect(rows).to_have_count(2)
    assert steady.jumps(page, "tbody, .table-foot") == []


def test_pages_come_without_a_jump(site: Site, page: Page) -> None:
    ids = everything(site.database) | models(site)
    workers(site)
    add_zero_shot(site.database, site.artifacts)
    made, other = (add_fine_tuned(site.database, site.artifacts, name) for name in ("a", "b"))
    report = f"#/reports/{made['report']}"
    pages = {
        "#/jobs": "tbody tr",
        f"#/jobs/{ids['running']}": ".chart svg.main-svg",
        f"#/jobs/{ids['succeeded']}": ".chart svg.main-svg",
        "#/models": "tbody .badge",
        "#/models/digits-production": "circle.live",
        "#/models/digits-production?tab=history": "tbody:visible tr",
        "#/workers": "tbody tr",
        f"#/datasets/{own_digits(site)}": ".samples img",
        report: ".chart:visible svg.main-svg",
        f"{report}?tab=reliability": ".chart:visible svg.main-svg",
        f"{report}?tab=mistakes": ".mistake",
        f"#/compare?checkpoint={made['checkpoint']}&checkpoint={other['checkpoint']}": "tbody tr",
        "#/try": ".drop",
    }
    steady.watch_loading(page)
    for address, ready in pages.items():
        page.goto("about:blank")
        page.goto(f"{site.url}/{address}")
        expect(page.locator(f"#main {ready}").first).to_be_visible()
        page.wait_for_timeout(LATER_MS)
        assert steady.jumps(page) == [], address
        assert steady.ticking(page) == [], address
