"""The page of one job: how it goes, its life, its curves, and what one can do to it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from store.jobs.jobs import cancel_job
from store.jobs.states import JobState
from store.tables import DEFAULT_PROJECT, Job
from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.fill import everything, finish, new_job, snapshot, start, train
from tests.acceptance.dashboard.site import Site
from tests.acceptance.dashboard.test_accessibility import faults

pytestmark = pytest.mark.acceptance


def state_of(site: Site, job: str) -> str:
    with site.database.reading() as session:
        return session.get_one(Job, job).state


def test_it_is_watched_to_its_end(site: Site, page: Page) -> None:
    job = new_job(site.database, "watched")
    page.goto(f"{site.url}/#/jobs/{job}")
    heading = page.get_by_role("heading", name="watched")
    expect(heading).to_contain_text("queued")
    expect(page.get_by_text("number 1", exact=True)).to_be_visible()
    expect(page.get_by_text("No curves yet.")).to_be_visible()
    held = start(site.database, job)
    expect(heading).to_contain_text("running")
    train(site.database, held, 80)
    expect(page.get_by_text("Training, step 80 of 400")).to_be_visible()
    expect(page.locator(".chart:visible h3")).to_have_text(
        [
            "Loss",
            "Learning rate",
            "Accuracy",
            "Negative log-likelihood",
            "ECE",
            "Calibration error",
            "σ_min",
            "Gradient norm",
        ]
    )
    expect(page.locator(".chart svg.main-svg").first).to_be_visible()
    before = points(page)
    train(site.database, held, 200, 81)
    snapshot(site.database, held, 200)
    page.wait_for_function(f"() => ({POINTS})() > {before}")
    finish(site.database, held)
    expect(heading).to_contain_text("succeeded")
    results = page.locator(".card").filter(has=page.get_by_role("heading", name="Results"))
    for text in ("93.4 %", "1.21 %", "3.12 % before calibration", "5.73 %"):
        expect(results).to_contain_text(text)
    states = page.locator(".timeline-state .badge")
    expect(states).to_have_text(["succeeded", "running", "queued"])
    page.get_by_role("tab", name="Snapshots").click()
    expect(page.get_by_role("row", name=re.compile("200 kept"))).to_contain_text("5.1 MiB")


POINTS = "() => document.querySelector('.chart-place.js-plotly-plot').data[0].x.length"


def points(page: Page) -> int:
    """How many points the first curve has."""
    return int(page.evaluate(POINTS))


def test_events_come_by_a_stream_and_without_one(site: Site, window: Window) -> None:
    page, job = window.page, new_job(site.database, "told")
    with page.expect_request(re.compile("/events/stream")):
        page.goto(f"{site.url}/#/jobs/{job}?tab=events")
    rows = page.get_by_role("tabpanel").locator("tbody tr")
    expect(rows).to_have_count(1)
    start(site.database, job)
    expect(rows).to_have_count(3)
    window.expected.append(REQUEST_FAILED)
    page.route(re.compile("/events/stream"), lambda route: route.abort())
    page.reload()
    expect(rows).to_have_count(3)
    with site.database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, job)
    expect(rows).to_have_count(4)
    expect(page.get_by_role("heading", name="told")).to_contain_text("cancelling")


def test_cancelling_asks_first(site: Site, page: Page) -> None:
    job = new_job(site.database, "a mistake")
    page.goto(f"{site.url}/#/jobs/{job}")
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    cancel.click()
    dialog = page.get_by_role("dialog", name="Cancel this job?")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert state_of(site, job) == JobState.QUEUED
    cancel.click()
    dialog.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("heading", name="a mistake")).to_contain_text("cancelled")
    assert state_of(site, job) == JobState.CANCELLED
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("heading", name="a mistake")).to_contain_text("queued")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", name="a mistake")).to_contain_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="a mistake")).to_contain_text("queued")


def test_what_did_not_work_is_said_and_stays(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page, job = window.page, new_job(site.database, "too late")
    page.goto(f"{site.url}/#/jobs/{job}")
    pause = page.get_by_role("button", name="Pause")
    expect(pause).to_be_visible()
    page.route(
        re.compile("/pause$"),
        lambda route: route.fulfill(
            status=409,
            content_type="application/problem+json",
            body='{"status": 409, "code": "conflict", "detail": "the job has already succeeded"}',
        ),
    )
    pause.click()
    alert = page.get_by_role("alert").filter(has_text="The job was not paused")
    expect(alert).to_contain_text("the job has already succeeded.")
    with page.expect_response(re.compile(f"/jobs/{job}$")):
        pass
    expect(alert).to_be_visible()
    alert.get_by_role("button", name="Close this message").click()
    expect(alert).to_be_hidden()


def test_failures_in_plain_words(site: Site, page: Page) -> None:
    ids = everything(site.database)
    page.goto(f"{site.url}/#/jobs/{ids['failed']}")
    why = page.get_by_role("region", name="Why it failed")
    expect(why).to_contain_text("The trainer ran out of memory.")
    expect(why).to_contain_text("A smaller batch size needs less.")
    why.get_by_text("Last output of the trainer").click()
    expect(why).to_contain_text("Tried to allocate 2.50 GiB")
    expect(page.locator(".timeline")).to_contain_text("attempt 2")
    page.goto(f"{site.url}/#/jobs/{ids['rejected']}")
    expect(why).to_contain_text("12 images of the training split cannot be read.")
    expect(why).to_contain_text("dataset")
    why.get_by_text("Files in question").click()
    expect(why.get_by_text("train/cat/11.jpg")).to_be_visible()


def test_differences_from_the_preset(site: Site, page: Page) -> None:
    ids = everything(site.database)
    page.goto(f"{site.url}/#/jobs/{ids['succeeded']}?tab=spec")
    expect(page.get_by_text("From the preset carot, with 2 settings changed.")).to_be_visible()
    page.get_by_label("only what was changed").check()
    rows = page.get_by_role("tabpanel").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("training.epochs")
    expect(rows.first).to_contain_text("15")
    page.goto(f"{site.url}/#/jobs/{ids['running']}?tab=spec")
    expect(page.get_by_text("From the preset carot, with nothing changed.")).to_be_visible()


def test_charts_are_saved_and_loaded_only_where_there_are_some(
    site: Site, window: Window, tmp_path: Path
) -> None:
    page, ids = window.page, everything(site.database)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.goto(site.url)
    expect(page.get_by_role("link", name="digits, seed 2")).to_be_visible()
    assert [path for path in asked if "plotly" in path or "chart" in path] == []
    page.goto(f"{site.url}/#/jobs/{ids['succeeded']}")
    expect(page.locator(".chart svg.main-svg").first).to_be_visible()
    assert [path for path in asked if path.endswith("plotly.min.js")] != []
    for kind, head in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save Loss as {kind}").click()
        target = tmp_path / f"saved.{kind.lower()}"
        download.value.save_as(target)
        assert target.read_bytes().startswith(head)
        assert download.value.suggested_filename == f"loss.{kind.lower()}"


def test_a_job_that_is_not_there(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    page.goto(f"{site.url}/#/jobs/job_{26 * '0'}")
    expect(page.get_by_role("heading", name="This page cannot be opened")).to_be_visible()


def test_a_waiting_job_goes_before_others(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    new_job(site.database, "first")
    job = new_job(site.database, "urgent")
    page.goto(f"{site.url}/#/jobs/{job}")
    expect(page.get_by_text("number 2", exact=True)).to_be_visible()
    page.get_by_role("button", name="Change the priority").click()
    dialog = page.get_by_role("dialog", name="Change the priority")
    field = dialog.get_by_label("Priority")
    expect(field).to_be_focused()
    expect(field).to_have_value("0")
    assert faults(page) == []
    field.fill("500")
    field.press("Enter")
    expect(dialog.get_by_role("alert").filter(has_text="less than or equal to 100")).to_be_visible()
    field.fill("")
    field.press("Enter")
    expect(dialog.get_by_text("give a whole number")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Change the priority").click()
    field.fill("10")
    dialog.get_by_role("button", name="Change it").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text("number 1", exact=True)).to_be_visible()
    expect(page.get_by_text("queue cpu, priority 10")).to_be_visible()
    start(site.database, job)
    expect(page.get_by_role("heading", name="urgent")).to_contain_text("running")
    expect(page.get_by_role("button", name="Change the priority")).to_have_count(0)
