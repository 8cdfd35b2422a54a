"""The list of jobs: what it shows, how it is filtered, how it follows what happens."""

from __future__ import annotations

import csv
import io
import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from store.jobs.jobs import cancel_job
from store.tables import DEFAULT_PROJECT
from tests.acceptance.dashboard import steady
from tests.acceptance.dashboard.conftest import Window
from tests.acceptance.dashboard.fill import HOSTILE, everything, finish, many, new_job, start, train
from tests.acceptance.dashboard.site import Site

pytestmark = pytest.mark.acceptance


def row(page: Page, name: str) -> Locator:
    """The row of a job."""
    link = page.get_by_role("link", name=name, exact=True)
    return page.get_by_role("row").filter(has=link)


def test_it_says_how_every_job_is(site: Site, page: Page) -> None:
    everything(site.database)
    page.goto(site.url)
    done = row(page, "digits, CaRot, batch 128")
    for text in ("succeeded", "93.4 %", "1.21 %", "73.4 %", "5.73 %"):
        expect(done).to_contain_text(text)
    expect(row(page, "zero-shot digits")).to_contain_text("61.0 %")
    expect(row(page, "digits, seed 3")).to_contain_text("position 1")
    expect(row(page, "digits, seed 4")).to_contain_text("position 2")
    running = row(page, "digits, seed 2")
    expect(running).to_contain_text("training, step 260 of 400")
    expect(running).to_contain_text("44 s")
    expect(running.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "65")
    expect(row(page, "digits, TRACER")).to_contain_text("not responding")
    expect(row(page, "digits, batch 4096")).to_contain_text("the trainer ran out of memory")


def test_filters_stand_in_the_address_and_back_takes_them_away(site: Site, page: Page) -> None:
    everything(site.database)
    page.goto(site.url)
    names = page.locator("tbody th a")
    expect(names).to_have_count(10)
    page.get_by_role("link", name="Failed").click()
    expect(names).to_have_text(["pets from the shelter", "digits, batch 4096"])
    page.get_by_label("Search jobs").fill("PETS")
    expect(names).to_have_text(["pets from the shelter"])
    assert page.url.endswith("#/jobs?view=failed&search=PETS")
    page.reload()
    expect(names).to_have_text(["pets from the shelter"])
    expect(page.get_by_label("Search jobs")).to_have_value("PETS")
    page.go_back()
    expect(names).to_have_count(10)
    page.get_by_label("Method").select_option("tracer")
    expect(names).to_have_text(["digits, TRACER"])
    page.get_by_label("Kind").select_option("merge")
    expect(page.get_by_text("No job found.")).to_be_visible()
    page.get_by_role("link", name="Show all jobs").click()
    expect(names).to_have_count(10)


def test_it_follows_what_happens(site: Site, page: Page) -> None:
    job = new_job(site.database, "followed")
    page.goto(site.url)
    mine = row(page, "followed")
    expect(mine).to_contain_text("position 1")
    link = page.get_by_role("link", name="followed").element_handle()
    held = start(site.database, job)
    train(site.database, held, 100)
    expect(mine).to_contain_text("step 100 of 400")
    train(site.database, held, 300, 101)
    expect(mine).to_contain_text("step 300 of 400")
    new_job(site.database, "newer")
    expect(row(page, "newer")).to_contain_text("position 1")
    finish(site.database, held, accuracy=0.5)
    expect(mine).to_contain_text("50.0 %")
    assert link is not None
    assert link.evaluate("node => node.isConnected"), "the row was changed, not made anew"


def test_a_job_leaves_a_list_that_it_no_longer_belongs_to(site: Site, page: Page) -> None:
    kept, gone = (new_job(site.database, name) for name in ("kept", "gone"))
    page.goto(f"{site.url}/#/jobs?view=active")
    expect(row(page, "gone")).to_be_visible()
    with site.database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, gone)
    expect(row(page, "gone")).to_have_count(0)
    expect(row(page, "kept")).to_be_visible()
    assert kept in str(page.get_by_role("link", name="kept").get_attribute("href"))


def test_nothing_is_sent_while_nothing_happens(site: Site, window: Window) -> None:
    everything(site.database)
    answers: list[tuple[int, str]] = []
    window.page.on("response", lambda got: answers.append((got.status, got.url)))
    window.page.goto(site.url)
    expect(row(window.page, "digits, seed 2")).to_be_visible()
    window.page.wait_for_event("response", lambda got: got.status == 304)
    changes = [a for a in answers if "updated_after" in a[1]]
    assert changes[-1][0] == 304
    assert len(changes) >= 2, "the first answer gives the tag"


def test_a_hidden_page_asks_less_often(site: Site, window: Window) -> None:
    new_job(site.database, "quiet")
    page = window.page
    page.goto(site.url)
    expect(row(page, "quiet")).to_be_visible()
    asked: list[str] = []
    with page.expect_event("requestfinished", lambda request: "/jobs" in request.url):
        pass  # with one still under way, the next would come in half a minute
    # The one that was due already; then it waits for half a minute.
    with page.expect_request(lambda request: "/jobs" in request.url):
        page.evaluate("""() => {
            Object.defineProperty(document, "hidden", { get: () => window.unseen });
            window.unseen = true;
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6000)
    assert asked == []
    with page.expect_request(lambda request: "/jobs" in request.url, timeout=10_000):
        page.evaluate("""() => {
            window.unseen = false;
            document.dispatchEvent(new Event("visibilitychange"));
        }""")


def test_five_thousand_jobs(site: Site, page: Page) -> None:
    many(site.database, 5000)
    running = new_job(site.database, "on top")
    held = start(site.database, running)
    page.goto(site.url)
    names = page.locator("tbody th a")
    expect(names).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_text("Older jobs: 50 jobs on this page")).to_be_visible()
    first = names.first.inner_text()
    page.get_by_role("link", name="Older").click()
    expect(names.first).not_to_have_text(first)
    page.wait_for_function("() => !document.querySelector('h1').hidden")
    page.go_back()
    page.go_back()
    expect(row(page, "on top")).to_be_visible()
    page.get_by_label("Search jobs").fill("sweep 4321")
    expect(names).to_have_text(["sweep 4321"])
    page.get_by_label("Search jobs").fill("")
    expect(names).to_have_count(50)
    train(site.database, held, 200)
    steady.watch(page)
    for step in (240, 280, 320):
        train(site.database, held, step, step - 39)
        expect(row(page, "on top")).to_contain_text(f"step {step} of 400")
    assert steady.jumps(page) == []


def test_hostile_names_are_text(site: Site, window: Window) -> None:
    page = window.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ids = [new_job(site.database, name) for name in HOSTILE]
    page.goto(site.url)
    names = page.locator("tbody th a")
    expect(names).to_have_count(len(HOSTILE))
    assert names.all_text_contents() == list(reversed(HOSTILE))
    assert page.locator("main script, main img").count() == 0
    width = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert width <= 0, "the long one breaks nothing"
    page.get_by_role("button", name="Copy Jobs as CSV").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    text = str(page.evaluate("navigator.clipboard.readText()"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [each["id"] for each in rows] == list(reversed(ids))
    assert rows[1]["name"] == "'" + HOSTILE[4], "no formula for a spreadsheet"
    for job, name in zip(ids, HOSTILE, strict=True):
        page.goto(f"{site.url}/#/jobs/{job}")
        expect(page.locator("h1 bdi")).to_have_text(name)
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0
    page.goto(f"{site.url}/#/jobs?search=%3Cscript%3E")
    expect(names).to_have_text([HOSTILE[0]])
    assert page.evaluate("window.hacked") is None
    assert re.match(r"127\.0\.0\.1", urlsplit(page.url).netloc)
