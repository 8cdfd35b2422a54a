"""Signing in and out, the way around, colours, and what happens when the server goes away."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from store.access.keys import revoke_key
from tests.acceptance.dashboard import steady
from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.fill import everything, new_job
from tests.acceptance.dashboard.site import Site

pytestmark = pytest.mark.acceptance


def test_without_keys_nobody_signs_in(site: Site, page: Page) -> None:
    page.goto(site.url)
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.get_by_text("There are no jobs yet.")).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    expect(page).to_have_title("Jobs · CaRot")


def test_signing_in_leads_to_where_one_wanted_to_go(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page, key = window.page, site.new_key()
    job = new_job(site.database, "wanted")
    page.goto(f"{site.url}/#/jobs/{job}?tab=spec")
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    field.fill(f"{key[:-3]}xxx")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown, wrong, revoked or expired")
    assert field.input_value() == f"{key[:-3]}xxx", "what was typed stays"
    field.fill(f"  {key}\n")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="wanted")).to_be_visible()
    expect(page.get_by_role("tab", name="Specification")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("Ada · default")).to_be_visible()
    cookies = page.context.cookies()
    assert [(c["httpOnly"], c["sameSite"]) for c in cookies] == [(True, "Strict")]
    assert page.evaluate("document.cookie + JSON.stringify({...localStorage})") == "{}"


def test_a_session_that_ends_keeps_the_place(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page, first, second = window.page, site.new_key(), site.new_key()
    new_job(site.database, "one job")
    page.goto(f"{site.url}/#/jobs?search=one")
    page.get_by_label("API key").fill(first)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="one job")).to_be_visible()
    with site.database.session() as session:
        revoke_key(session, None, first.partition(".")[0])
    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    expect(page.get_by_role("link", name="one job")).to_be_hidden()
    page.get_by_label("API key").fill(second)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="one job")).to_be_visible()
    assert page.url.endswith("#/jobs?search=one")


def test_signing_out_leaves_nothing(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page, key = window.page, site.new_key()
    new_job(site.database, "a private name")
    page.goto(site.url)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="a private name")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert "a private name" not in page.content()
    assert page.context.cookies() == []


def test_without_the_scope_there_are_no_buttons(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page, key = window.page, site.new_key("jobs:read")
    job = new_job(site.database, "not mine")
    page.goto(f"{site.url}/#/jobs/{job}")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="not mine")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_the_server_goes_and_comes_back(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    new_job(site.database, "before")
    page.goto(site.url)
    expect(page.get_by_role("link", name="before")).to_be_visible()
    site.stop()
    expect(
        page.get_by_text("The server does not answer. What you see may be out of date.")
    ).to_be_visible()
    expect(page.get_by_text(re.compile("Next try in"))).to_be_visible()
    expect(page.get_by_role("link", name="before")).to_be_visible()
    # While nobody answers, so that the page's own next try does not take the button away.
    asked = page.evaluate(
        """() => {
            const fetched = window.fetch;
            let asked = 0;
            window.fetch = (...all) => { asked += 1; return fetched(...all); };
            const buttons = [...document.querySelectorAll("button")];
            buttons.find((each) => each.textContent === "Try now").click();
            return new Promise((done) => setTimeout(() => {
                window.fetch = fetched;
                done(asked);
            }, 50));
        }"""
    )
    assert asked >= 1
    new_job(site.database, "meanwhile")
    site.start()
    steady.ask_now(page)
    expect(page.get_by_role("link", name="meanwhile")).to_be_visible()
    expect(page.get_by_text("The server does not answer.")).to_be_hidden()


def test_a_page_that_nobody_has(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/nothing/here")
    expect(page.get_by_role("heading", name="Page not found")).to_be_visible()
    page.get_by_role("link", name="Go to Jobs").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_focused()


def test_colours_are_chosen_and_remembered(site: Site, page: Page) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    page.goto(site.url)
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    light = background()
    page.emulate_media(color_scheme="dark")
    dark = background()
    assert dark != light, "it follows the system"
    page.get_by_role("button", name="Colours: as the system").click()
    assert background() == light
    page.reload()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    assert background() == light
    page.get_by_role("button", name="Colours: light").click()
    page.emulate_media(color_scheme="light")
    assert background() == dark


def test_everything_can_be_reached_by_keyboard(site: Site, page: Page) -> None:
    ids = everything(site.database)
    page.goto(site.url)
    expect(page.get_by_role("link", name="digits, seed 2")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Jobs")).to_be_focused()
    page.get_by_role("link", name="digits, seed 2").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    tab = page.get_by_role("tab", name="Overview")
    expect(tab).to_be_visible()
    tab.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Events")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Events")).to_be_visible()
    assert page.url.endswith(f"{ids['running']}?tab=events")
