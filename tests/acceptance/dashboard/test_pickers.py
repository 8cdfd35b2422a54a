"""Fields that pick one of many: the newest, what is searched for, and what lies further back."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from store.datasets.datasets import create_dataset
from store.ids import new_id
from store.models.calibrators import add_version
from store.tables import DEFAULT_PROJECT, Checkpoint, Job
from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.fill import HOSTILE, finish, new_job, start
from tests.acceptance.dashboard.reports import DIGITS
from tests.acceptance.dashboard.serving import name_model
from tests.acceptance.dashboard.site import Site
from tests.acceptance.dashboard.test_accessibility import faults, still

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]
PAGE = 20
"""Rows that a picker and the tables of a model show at a time."""


def checkpoints(site: Site, *names: str) -> list[str]:
    """Checkpoints of these names, the oldest first; their ids."""
    held = start(site.database, new_job(site.database, names[0]))
    first, _ = finish(site.database, held)
    with site.database.session() as session:
        like = session.get_one(Checkpoint, first)
        like.classes = list(DIGITS)
        ids = [first]
        for name in names[1:]:
            row = {
                column.key: getattr(like, column.key)
                for column in Checkpoint.__table__.columns
                if column.key not in ("id", "created_at")
            }
            ids.append(new_id("ckpt"))
            session.add(Checkpoint(**row | {"id": ids[-1], "name": name}))
            session.flush()
    return ids


def many(site: Site, count: int = 230) -> list[str]:
    return checkpoints(site, "needle", *(f"run {i}" for i in range(1, count)))


def found(page: Page) -> Locator:
    return page.locator("[role=listbox]:visible [role=option]")


def answered(page: Page) -> None:
    """Wait until the open list is what was last typed."""
    expect(page.locator("[role=listbox]:visible")).to_have_attribute("aria-busy", "false")


def choose(page: Page, label: str, text: str) -> None:
    """Search for a text and take the one that is found."""
    field = page.get_by_role("combobox", name=label, exact=True)
    field.click()
    field.fill(text)
    answered(page)
    expect(found(page).filter(has_text=text)).to_have_count(1)
    found(page).filter(has_text=text).click()


def asked(page: Page) -> dict[str, Any]:
    page.get_by_role("tab", name="JSON").click()
    text = page.get_by_label("The job for JSON").inner_text()
    document: dict[str, Any] = json.loads(text)
    return document


def merging(site: Site, page: Page, kind: str = "merge") -> None:
    page.goto(f"{site.url}/#/new")
    page.get_by_label("Kind", exact=True).first.select_option(kind)
    expect(page.get_by_role("combobox", name="Checkpoint 1", exact=True)).to_be_visible()


def test_an_old_checkpoint_is_found_by_its_name(site: Site, page: Page) -> None:
    ids = many(site)
    page.goto(f"{site.url}/#/new")
    page.get_by_label("Kind", exact=True).first.select_option("evaluate")
    page.get_by_label("Start from").select_option("checkpoint")
    field = page.get_by_role("combobox", name="Checkpoint", exact=True)
    field.focus()
    expect(found(page)).to_have_count(0)
    field.press("ArrowDown")
    expect(found(page)).to_have_count(PAGE + 1)
    expect(found(page).first).to_contain_text("run 229")
    # Typed and entered at once, when the list is still of what was there before.
    field.evaluate(
        """(field) => {
            field.value = "NEEDLE";
            field.dispatchEvent(new InputEvent("input", { bubbles: true }));
            field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
        }"""
    )
    answered(page)
    expect(found(page)).to_have_text([re.compile("needle")])
    field.press("Enter")
    expect(found(page)).to_have_count(0)
    expect(field).to_have_value("needle")
    expect(field).to_be_focused()
    assert asked(page)["model"] == {"checkpoint": ids[0]}
    field.fill("something else")
    expect(found(page)).to_have_text(["Nothing found."])
    field.press("Escape")
    expect(field).to_have_value("needle")
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    page.go_back()
    expect(field).to_have_value("needle")
    field.fill("")
    field.press("Tab")
    assert "model" not in asked(page)


def test_older_ones_are_reached_by_keys(site: Site, page: Page) -> None:
    ids = many(site, PAGE + 2)
    page.goto(f"{site.url}/#/new")
    page.get_by_label("Kind", exact=True).first.select_option("predict")
    field = page.get_by_role("combobox", name="Checkpoint", exact=True)
    field.press("ArrowUp")
    expect(found(page)).to_have_count(PAGE + 1)
    for _ in range(PAGE):
        field.press("ArrowDown")
    expect(page.locator(".picker-option.active")).to_have_text("Show older")
    field.press("Enter")
    expect(found(page)).to_have_count(PAGE + 2)
    active = page.locator(".picker-option.active")
    expect(active).to_contain_text("run 1")
    expect(field).to_have_attribute("aria-activedescendant", str(active.get_attribute("id")))
    field.press("ArrowDown")
    field.press("Enter")
    assert asked(page)["model"] == {"checkpoint": ids[0]}


def test_a_search_that_fails_says_so_and_can_be_tried_again(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    many(site, 3)
    page.goto(f"{site.url}/#/models")
    field = page.get_by_role("combobox", name="Checkpoint")
    expect(field).to_have_value("run 2")
    page.route(re.compile(r"/checkpoints\?"), lambda route: route.abort())
    field.click()
    expect(found(page).first).to_contain_text("the server does not answer")
    page.unroute_all()
    page.get_by_role("option", name="Try again", exact=True).click()
    expect(found(page)).to_have_count(3)


def test_an_old_data_set_is_found(site: Site, page: Page) -> None:
    with site.database.session() as session:
        ids = [
            create_dataset(
                session,
                DEFAULT_PROJECT,
                name=f"pets {i}",
                source={"source": "builtin:digits"},
                classes=["cat", "dog"],
                splits={"train": {"cat": 3, "dog": 4}},
                images=7,
                bytes=700,
                artifact=None,
            ).id
            for i in range(PAGE + 5)
        ]
    page.goto(f"{site.url}/#/new")
    field = page.get_by_role("combobox", name="Data set")
    expect(field).to_have_value(f"pets {PAGE + 4}, 7 images")
    choose(page, "Data set", ids[0])
    expect(field).to_have_value("pets 0, 7 images")
    expect(page.get_by_text("7 images in 2 classes")).to_be_visible()
    assert asked(page)["dataset"] == ids[0]
    choose(page, "Data set", "another, by its reference")
    page.get_by_label("Reference").fill("imagenet:here")
    assert asked(page)["dataset"] == "imagenet:here"
    choose(page, "Data set", "the handwritten digits")
    expect(page.get_by_label("Reference")).to_be_hidden()
    assert asked(page)["dataset"] == "builtin:digits"


def test_checkpoints_are_merged(site: Site, page: Page) -> None:
    ids = checkpoints(site, "a", "b", HOSTILE[0], "d")
    merging(site, page)
    page.get_by_label("Method", exact=True).select_option("uniform_soup")
    expect(page.get_by_role("button", name="Remove checkpoint 1")).to_be_disabled()
    for i, id in enumerate((ids[3], ids[2], ids[1], ids[0]), start=1):
        if i > 2:
            page.get_by_role("button", name="Add a checkpoint").click()
            expect(page.get_by_role("combobox", name=f"Checkpoint {i}")).to_be_focused()
        choose(page, f"Checkpoint {i}", id)
    page.get_by_role("button", name="Remove checkpoint 3").click()
    expect(page.get_by_role("combobox", name="Checkpoint 3")).to_be_focused()
    expect(page.get_by_role("combobox", name="Checkpoint 3")).to_have_value("a")
    wanted = [{"checkpoint": id} for id in (ids[3], ids[2], ids[0])]
    assert asked(page)["models"] == wanted
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("combobox", name="Checkpoint 2")).to_have_value(HOSTILE[0])
    still(page)
    page.get_by_role("combobox", name="Checkpoint 2").click()
    expect(found(page)).to_have_count(4)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("combobox", name="Checkpoint 2").press("Escape")
    assert asked(page)["models"] == wanted
    page.get_by_role("button", name="Queue the job").click()
    page.wait_for_url(re.compile("#/jobs/job_"))
    with site.database.reading() as session:
        spec = session.get_one(Job, page.url.rsplit("/", 1)[1]).spec
    assert [model["checkpoint"] for model in spec["models"]] == [ids[3], ids[2], ids[0]]
    page.get_by_role("link", name="Clone").click()
    expect(page.get_by_role("combobox", name="Checkpoint 3")).to_have_value("a")
    assert asked(page)["models"] == wanted
    assert page.evaluate("window.hacked") is None


def test_what_is_wrong_stands_beside_its_checkpoint(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    ids = checkpoints(site, "a", "b")
    merging(site, page, "select")
    act = page.get_by_role("button", name="Queue the job")
    act.click()
    expect(page.get_by_role("alert").filter(has_text=re.compile("^Field required"))).to_be_visible()
    choose(page, "Checkpoint 1", ids[0])
    act.click()
    rows = page.locator(".picks > li")
    expect(rows.nth(1)).to_contain_text("Nothing is chosen here.")
    expect(page.get_by_role("combobox", name="Checkpoint 2")).to_be_focused()
    choose(page, "Checkpoint 2", ids[0])
    expect(rows.nth(1)).not_to_contain_text("Nothing is chosen here.")
    act.click()
    expect(rows.nth(1)).to_contain_text("is already models.0")
    expect(rows.nth(0).locator(".fault")).to_be_empty()
    expect(page.get_by_role("combobox", name="Checkpoint 2")).to_have_attribute(
        "aria-invalid", "true"
    )


def test_old_checkpoints_are_compared(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page, ids = window.page, many(site)
    page.goto(f"{site.url}/#/compare")
    act = page.get_by_role("button", name="Compare")
    choose(page, "Checkpoint 1", "needle")
    expect(act).to_be_disabled()
    choose(page, "Checkpoint 2", ids[0])
    expect(page.get_by_text("The same checkpoint is there twice.")).to_be_visible()
    choose(page, "Checkpoint 2", ids[7])
    for _ in range(8):
        page.get_by_role("button", name="Add a checkpoint").click()
    expect(page.get_by_role("button", name="Add a checkpoint")).to_be_disabled()
    with page.expect_request(re.compile(f"/comparisons.*{ids[0]}.*{ids[7]}")):
        act.click()
    expect(page.get_by_text("They cannot be compared:")).to_be_visible()


def test_what_a_model_could_be_is_paged_and_searched(site: Site, page: Page) -> None:
    ids = many(site, 45)
    for id in ids:
        name_model(site, "digits", id)
    page.goto(f"{site.url}/#/models/digits?tab=history")
    table = page.get_by_role("table", name="Checkpoints")
    rows, pages = table.locator("tbody tr"), page.get_by_label("Pages of the checkpoints")
    expect(rows).to_have_count(PAGE)
    for count, first in ((PAGE, "run 24"), (5, "run 4")):
        pages.get_by_role("button", name="Older").click()
        expect(rows.first.locator("th bdi")).to_have_text(first)
        expect(rows).to_have_count(count)
    expect(pages.get_by_role("button", name="Older")).to_have_count(0)
    expect(rows.last).to_contain_text("needle")
    pages.get_by_role("button", name="Newest").click()
    expect(rows.first).to_contain_text("run 44")
    past = page.get_by_role("table", name="History").locator("tbody tr")
    expect(past).to_have_count(PAGE)
    page.get_by_label("Pages of the history").get_by_role("button", name="Older").click()
    expect(past.first).to_contain_text("run 24")
    expect(rows.first).to_contain_text("run 44")
    page.get_by_label("Search checkpoints").fill("needle")
    expect(rows).to_have_count(1)
    still(page)
    assert faults(page) == []
    page.get_by_role("button", name=f"Promote {ids[0]}").click()
    page.get_by_role("button", name="Change it").click()
    expect(page.locator(".target")).to_contain_text("needle")
    assert site.ask("/models/digits")["checkpoint_id"] == ids[0]
    page.get_by_label("Search checkpoints").fill("nothing like that")
    expect(page.get_by_text("No checkpoint found.")).to_be_visible()


def test_versions_and_models_are_paged(site: Site, page: Page) -> None:
    [made] = checkpoints(site, "digits")
    for i in range(51):
        name_model(site, f"digits-{i:02}", made)
    with site.database.session() as session:
        for _ in range(PAGE + 1):
            add_version(
                session,
                DEFAULT_PROJECT,
                made,
                {"kind": "temperature", "temperature": 1.3, "n": 100},
                nll_before=0.4,
                nll_after=0.3,
                held_out={},
            )
    page.goto(f"{site.url}/#/models")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_label("Pages of the list").get_by_role("link", name="Next").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("digits-50")
    page.goto(f"{site.url}/#/models/digits-00?tab=calibrators")
    versions = page.get_by_role("table", name="Calibrators").locator("tbody tr")
    expect(versions).to_have_count(PAGE)
    page.get_by_label("Pages of the versions").get_by_role("button", name="Older").click()
    expect(versions).to_have_count(2)
