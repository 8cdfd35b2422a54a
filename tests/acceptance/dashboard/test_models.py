"""Models: where names point, whether confidences hold, and what one does about it."""

from __future__ import annotations

import csv
import io

import pytest
from playwright.sync_api import Page, Route, expect

from tests.acceptance.dashboard import steady
from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.fill import HOSTILE
from tests.acceptance.dashboard.serving import models, name_model, new_checkpoint
from tests.acceptance.dashboard.site import Site

pytestmark = pytest.mark.acceptance


def pointed(site: Site, alias: str) -> str:
    return str(site.ask(f"/models/{alias}")["checkpoint_id"])


def test_without_models_it_says_what_to_do_and_makes_one(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    page.goto(f"{site.url}/#/models")
    expect(page.get_by_text("There are no models yet.")).to_be_visible()
    made = new_checkpoint(site, "digits")
    page.reload()
    page.get_by_role("button", name="Create model").click()
    expect(page.get_by_text("give it a name")).to_be_visible()
    page.get_by_label("Name").fill("not a name")
    page.get_by_role("button", name="Create model").click()
    expect(page.locator(".field-wrong").first).not_to_be_empty()
    expect(page.get_by_label("Name")).to_have_value("not a name")
    page.get_by_label("Name").fill("digits-a")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("heading", name="digits-a")).to_be_visible()
    assert pointed(site, "digits-a") == made
    expect(page.get_by_text("No predictions since it points to this checkpoint.")).to_be_visible()


def test_the_list_says_how_every_model_is(site: Site, page: Page) -> None:
    models(site)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{site.url}/#/models")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="digits-night")).to_contain_text("miscalibrated")
    expect(rows.filter(has_text="digits-new")).to_contain_text("no predictions")
    good = rows.filter(has_text="digits-production")
    for text in ("digits, CaRot, batch 128", "93.4 %", "1.21 %", "no evidence of miscalibration"):
        expect(good).to_contain_text(text)
    page.get_by_role("button", name="Copy Models as CSV").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    text = str(page.evaluate("navigator.clipboard.readText()"))
    found = {row["Model"]: row for row in csv.DictReader(io.StringIO(text))}
    live = found["digits-production"]
    assert float(live["low"]) < float(live["live accuracy"]) < float(live["high"])


def test_live_calibration(site: Site, page: Page) -> None:
    models(site)
    page.goto(f"{site.url}/#/models/digits-production")
    found = site.ask("/models/digits-production/calibration")
    live = found["live"]["measured"]
    low, high = live["accuracy_interval"]
    accuracy = f"{100 * live['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    for text in (accuracy, f"{100 * live['ece']:.2f} %", "93.4 % reported", "1.21 % reported"):
        expect(page.locator("#main")).to_contain_text(text)
    expect(page.locator("#main")).to_contain_text("300 of 400 predictions have a label")
    expect(page.locator("#main")).to_contain_text("alarm at 20")
    drawn = [bin for bin in live["reliability"] if bin["count"]]
    expect(page.locator("circle.live")).to_have_count(len(drawn))
    expect(page.locator("circle.reported")).to_have_count(5)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save Reliability as SVG").click()
    assert download.value.path().read_bytes().startswith(b"<svg")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save Reliability as PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_sets_that_follow_labels(site: Site, page: Page) -> None:
    models(site)
    page.goto(f"{site.url}/#/models/digits-production")
    card = page.locator("section.card").filter(has_text="Sets that follow labels")
    levels = site.ask("/models/digits-production/calibration")["online"]
    assert [each["labels"] for each in levels] == [300, 300]
    expect(card.locator(".fact")).to_have_count(2)
    for each in levels:
        fact = card.locator(".fact").filter(has_text=f"Coverage {100 * each['coverage']:.0f} %")
        expect(fact).to_contain_text(f"{100 * each['long_run']:.1f} % held")
        expect(fact).to_contain_text(f"{100 * each['lately']:.1f} % of the last 300; threshold")


def test_from_an_alert_to_another_calibrator(site: Site, page: Page) -> None:
    models(site)
    page.goto(f"{site.url}/#/models/digits-night")
    alert = page.get_by_role("status").filter(has_text="Alert:")
    expect(alert).to_contain_text("its confidences are miscalibrated, overconfident")
    page.get_by_role("tab", name="Calibrators").click()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("It would be better.")).to_be_visible()
    assert site.ask("/models/digits-night")["calibrator_id"] is None
    page.get_by_role("button", name="Use it").click()
    dialog = page.get_by_role("dialog", name="Recalibrate this model?")
    dialog.get_by_role("button", name="Recalibrate").click()
    expect(page.get_by_text("It is used from now on.")).to_be_visible()
    version = site.ask("/models/digits-night")["calibrator_id"]
    rows = page.get_by_role("table", name="Calibrators").locator("tbody tr")
    expect(rows.filter(has_text=version)).to_contain_text("used")
    page.get_by_role("tab", name="Promote and roll back").click()
    page.get_by_role("button", name="Roll back to").first.click()
    page.get_by_role("button", name="Change it").click()
    expect(page.locator(".target")).to_contain_text("the checkpoint's own")
    assert site.ask("/models/digits-night")["calibrator_id"] is None


def test_what_cannot_be_fitted_is_said_beside_it(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    models(site)
    page.goto(f"{site.url}/#/models/digits-production?tab=calibrators")
    page.get_by_label("Labels", exact=True).fill("0")
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".field-wrong").filter(has_text="greater than or equal")).to_be_visible()
    expect(page.get_by_label("Labels", exact=True)).to_have_value("0")
    page.goto(f"{site.url}/#/models/digits-new?tab=calibrators")
    expect(page.get_by_role("heading", level=1, name="digits-new")).to_be_visible()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_role("alert").filter(has_text="Not recalibrated")).to_be_visible()


def test_a_checkpoint_that_comes_late_is_shown_all_the_same(site: Site, page: Page) -> None:
    ids = models(site)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(f"**/checkpoints/{ids['made']}", hold)
    with page.expect_event("requestfinished", lambda request: "/calibration?" in request.url):
        page.goto(f"{site.url}/#/models/digits-new")
    page.wait_for_timeout(300)  # what it says is taken
    for route in held:
        route.continue_()
    expect(page.locator(".target")).to_contain_text(ids["made"])


def test_an_answer_from_before_a_move_does_not_undo_it(site: Site, page: Page) -> None:
    ids = models(site)
    page.goto(f"{site.url}/#/models/digits-new?tab=history")
    expect(page.locator(".target")).to_contain_text(ids["made"])
    held: list[Route] = []
    moved = False

    def late(route: Route) -> None:
        if moved:
            route.continue_()
        else:
            held.append(route)

    page.route("**/calibration*", late)
    with (
        page.expect_response(lambda answer: answer.url.endswith("/models/digits-new")),
        page.expect_request("**/calibration*"),
    ):
        steady.ask_now(page)
    assert held, "where the model points is known; the page waits for the other answer as well"
    page.get_by_role("button", name=f"Promote {ids['old']}").click()
    page.get_by_role("button", name="Change it").click()
    expect(page.locator(".target")).to_contain_text(ids["old"])
    page.evaluate("""() => {
        const target = document.querySelector(".target");
        window.texts = [];
        new MutationObserver(() => window.texts.push(target.textContent)).observe(
            target, { childList: true, characterData: true, subtree: true });
    }""")
    moved = True
    with page.expect_response(lambda answer: answer.url.endswith("/models/digits-new")):
        for route in held:
            route.continue_()
    page.wait_for_timeout(500)
    assert not any(ids["made"] in text for text in page.evaluate("window.texts"))


def test_promoting_and_rolling_back(site: Site, page: Page) -> None:
    ids = models(site)
    page.goto(f"{site.url}/#/models/digits-new?tab=history")
    page.get_by_role("button", name=f"Promote {ids['old']}").click()
    dialog = page.get_by_role("dialog", name="Point the model to this checkpoint?")
    expect(dialog).to_contain_text("93.4 % now, 90.2 % afterwards")
    page.keyboard.press("Escape")
    assert pointed(site, "digits-new") == ids["made"]
    page.get_by_role("button", name=f"Promote {ids['old']}").click()
    dialog.get_by_role("button", name="Change it").click()
    expect(page.locator(".target")).to_contain_text("digits, first try")
    assert pointed(site, "digits-new") == ids["old"]
    page.get_by_role("button", name=f"Roll back to {ids['made']}").click()
    dialog.get_by_role("button", name="Change it").click()
    expect(page.locator(".target")).to_contain_text("digits, CaRot, batch 128")
    assert pointed(site, "digits-new") == ids["made"]


def test_what_is_remembered(site: Site, page: Page) -> None:
    models(site)
    page.goto(f"{site.url}/#/models/digits-new?tab=log")
    rate = page.get_by_label("Predictions that are logged, %")
    expect(rate).to_have_value("100")
    rate.fill("101")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("a percentage from 0 to 100")).to_be_visible()
    rate.fill("12.5")
    page.get_by_label("Store the images, too").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    model = site.ask("/models/digits-new")
    assert (model["log_rate"], model["log_images"]) == (0.125, True)


def test_hostile_names_are_text(site: Site, page: Page) -> None:
    for i, name in enumerate(HOSTILE):
        name_model(site, f"m{i}", new_checkpoint(site, name))
    page.goto(f"{site.url}/#/models")
    names = page.locator("tbody td a bdi")
    expect(names).to_have_text(list(HOSTILE))
    page.goto("about:blank")
    page.goto(f"{site.url}/#/models/m5?tab=history")
    expect(page.locator("tbody tr:visible").first).to_be_visible()
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0
    assert page.evaluate("window.hacked") is None
