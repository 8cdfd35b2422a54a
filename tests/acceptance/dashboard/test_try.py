"""An image is dropped, chosen or pasted; the answer, other limits, and the label."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window, new_window
from tests.acceptance.dashboard.serving import HARD, digit, models, payload
from tests.acceptance.dashboard.site import Site, running

pytestmark = pytest.mark.acceptance

FEW = {"max_images": 3, "max_body_bytes": 40_960}

TRANSFER = """(files) => {
    const transfer = new DataTransfer();
    for (const [name, content] of files) {
        const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: "image/png" }));
    }
    return transfer;
}"""


PASTE = """(data) => {
    const options = { clipboardData: data, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new ClipboardEvent("paste", options));
}"""


def handed(page: Page, files: Mapping[str, bytes]) -> Any:
    """What a browser carries while something is dropped or pasted."""
    encoded = [[name, base64.b64encode(content).decode()] for name, content in files.items()]
    return page.evaluate_handle(TRANSFER, encoded)


def drop(page: Page, content: bytes, name: str = "nine.png") -> None:
    drop_all(page, {name: content})


def drop_all(page: Page, files: Mapping[str, bytes]) -> None:
    page.locator(".drop").dispatch_event("drop", {"dataTransfer": handed(page, files)})


def asked(site: Site, content: bytes, **fields: str) -> Any:
    """What the API says of the same image; of a checkpoint, so that it is not remembered."""
    checkpoint = site.ask("/models/digits-production")["checkpoint_id"]
    files = [("images", ("0.png", content))]
    data = {"checkpoint": checkpoint, "top_k": "10"} | fields
    return httpx.post(f"{site.url}/predict", files=files, data=data, timeout=60).json()


def remembered(site: Site) -> int:
    found = site.ask("/models/digits-production/calibration")
    return int(found["window"]["predictions"])


def test_with_nothing_to_ask_it_says_what_to_do(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/try")
    expect(page.get_by_text("There is no model to try yet.")).to_be_visible()


def test_a_dropped_image_and_its_label(site: Site, page: Page) -> None:
    models(site)
    content, truth = digit(HARD)
    before = remembered(site)
    page.goto(f"{site.url}/#/try?model=digits-production")
    drop(page, content)
    says = page.get_by_role("status", name="Answer")
    body = asked(site, content)
    one = body["predictions"][0]
    top = one["top"][0]
    expect(says).to_contain_text(f"{top['label']} {100 * top['confidence']:.1f} %")
    expect(says).to_contain_text(one["evidence"]["text"])
    expect(says).to_contain_text(f"{100 * one['shift']['percentile']:.1f} % of")
    expect(says.locator(".member")).to_have_text([each["label"] for each in one["set"]["labels"]])
    rows = says.locator("tbody tr")
    expect(rows).to_have_count(10)
    expect(rows.first).to_contain_text(f"{100 * top['raw_confidence']:.1f} %")
    assert remembered(site) == before + 1

    page.get_by_label("What it really shows").fill(truth)
    page.get_by_role("button", name="Save label").click()
    expect(page.get_by_text(f"Stored: {truth}.")).to_be_visible()
    assert "".join(page.locator(".field-wrong, .error-place").all_text_contents()) == ""
    found = site.ask("/models/digits-production/calibration")
    assert found["window"]["labels"] == 301


def test_the_slider_asks_again_without_being_remembered(site: Site, page: Page) -> None:
    models(site)
    content, _ = digit(HARD)
    page.goto(f"{site.url}/#/try?model=digits-production")
    page.get_by_label("Image files").set_input_files([payload()])
    says = page.get_by_role("status", name="Answer")
    expect(says).to_contain_text("90 % coverage")
    count = remembered(site)
    slider = page.get_by_label("Coverage of prediction sets")
    for _ in range(9):
        slider.press("ArrowRight")
    expect(says).to_contain_text("99 % coverage")
    members = asked(site, content, coverage="0.99")["predictions"][0]["set"]["labels"]
    expect(says.locator(".member")).to_have_text([each["label"] for each in members])
    page.get_by_label("Abstain so that at most").select_option("0.05")
    expect(says.get_by_text(re.compile("at most 5 % wrong"))).to_be_visible()
    one = asked(site, content, max_risk="0.05")["predictions"][0]
    words = {True: "abstain", False: "no reason to abstain", None: "reliability unknown"}
    expect(says.locator(".badge")).to_have_text(words[one["abstain"]])
    assert remembered(site) == count


def test_what_cannot_be_promised_is_said_beside_it(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    models(site)
    page.goto(f"{site.url}/#/try?model=digits-production")
    drop(page, digit(HARD)[0])
    expect(page.get_by_role("status", name="Answer")).to_be_visible()
    page.get_by_label("Abstain so that at most").select_option("0.01")
    wrong = page.locator(".field-wrong").filter(has_text=re.compile("."))
    expect(wrong).to_be_visible()
    expect(page.get_by_role("status", name="Answer")).to_be_visible()
    page.get_by_label("Abstain so that at most").select_option("")
    expect(wrong).to_have_count(0)


def test_a_pasted_image_of_a_checkpoint(site: Site, page: Page) -> None:
    ids = models(site)
    page.goto(f"{site.url}/#/try?checkpoint={ids['old']}")
    expect(page.get_by_label("Model or checkpoint")).to_have_value(f"checkpoint:{ids['old']}")
    transfer = handed(page, {"<script>window.hacked = 1</script>.png": digit(0)[0]})
    page.evaluate(PASTE, transfer)
    expect(page.get_by_role("status", name="Answer")).to_be_visible()
    expect(page.locator(".preview-name")).to_have_text("<script>window.hacked = 1</script>.png")
    expect(page.get_by_text("Predictions of a checkpoint are not logged.")).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_what_is_no_image_is_said_and_the_rest_stays(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    models(site)
    page.goto(f"{site.url}/#/try?model=digits-night")
    drop(page, b"no image", "notes.png")
    alert = page.get_by_role("alert").filter(has_text="No answer")
    expect(alert).to_contain_text("no image could be read")
    expect(page.get_by_label("Model or checkpoint")).to_have_value("model:digits-night")
    drop(page, digit(0)[0])
    expect(page.get_by_role("status", name="Answer")).to_be_visible()
    expect(alert).to_have_count(0)
    page.get_by_label("What it really shows").fill("a unicorn")
    page.get_by_role("button", name="Save label").click()
    expect(page.locator(".field-wrong").filter(has_text="unicorn")).to_be_visible()
    expect(page.get_by_label("What it really shows")).to_have_value("a unicorn")
    first, second = "zero", "one"
    page.get_by_label("What it really shows").fill(digit(0)[1])
    page.get_by_role("button", name="Save label").click()
    expect(page.get_by_text("Stored:")).to_be_visible()
    other = second if digit(0)[1] != second else first
    page.get_by_label("What it really shows").fill(other)
    page.get_by_role("button", name="Save label").click()
    page.get_by_role("button", name="Replace it").click()
    expect(page.get_by_text(f"Stored: {other}.")).to_be_visible()


def thumbs(page: Page) -> Locator:
    return page.get_by_role("group", name="Images").locator("label")


def test_several_images_in_one_request(site: Site, page: Page) -> None:
    models(site)
    before = remembered(site)
    page.goto(f"{site.url}/#/try?model=digits-production")
    requests: list[str] = []
    page.on("request", lambda each: requests.append(each.url))
    files = {"first.png": digit(0)[0], "notes.png": b"no image", "hard.png": digit(HARD)[0]}
    drop_all(page, files)
    says = page.get_by_role("status", name="Answer")
    for place, name in ((0, "first.png"), (2, "hard.png")):
        top = asked(site, files[name])["predictions"][0]["top"][0]
        expect(thumbs(page).nth(place)).to_contain_text(name)
        expect(thumbs(page).nth(place)).to_contain_text(top["label"])
        expect(thumbs(page).nth(place)).to_contain_text(f"{100 * top['confidence']:.1f} %")
    expect(thumbs(page).nth(1)).to_contain_text("not one of JPEG, PNG")
    expect(page.locator(".preview-name")).to_have_text("first.png")
    assert len([each for each in requests if each.endswith("/predict")]) == 1
    assert remembered(site) == before + 2

    page.get_by_role("radio", name=re.compile("first.png")).press("ArrowRight")
    expect(page.get_by_text("This image has no answer.")).to_be_visible()
    expect(says).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".preview-name")).to_have_text("hard.png")
    one = asked(site, files["hard.png"])["predictions"][0]
    expect(says.locator(".said-class")).to_contain_text(one["top"][0]["label"])
    page.get_by_label("Coverage of prediction sets").press("End")
    expect(says).to_contain_text("99 % coverage")
    wanted = asked(site, files["hard.png"], coverage="0.99")["predictions"][0]["set"]["labels"]
    expect(says.locator(".member")).to_have_text([each["label"] for each in wanted])
    page.get_by_label("What it really shows").fill(digit(HARD)[1])
    page.get_by_role("button", name="Save label").click()
    expect(page.get_by_text("Stored:")).to_be_visible()
    found = site.ask("/predictions?model=digits-production&limit=2")
    truths = {each["raw_confidence"]: each["truth"] for each in found["data"]}
    assert truths.pop(one["top"][0]["raw_confidence"])["label"] == digit(HARD)[1]
    assert list(truths.values()) == [None], "only the one that was looked at"

    drop(page, files["first.png"], "alone.png")
    expect(page.locator(".preview-name")).to_have_text("alone.png")
    expect(says.locator(".said-class")).to_contain_text(digit(0)[1])
    expect(page.get_by_role("group", name="Images")).to_have_count(0)


def test_several_are_chosen_or_pasted(site: Site, page: Page) -> None:
    models(site)
    page.goto(f"{site.url}/#/try?model=digits-production")
    page.get_by_label("Image files").set_input_files([payload(0), payload(1)])
    expect(thumbs(page).locator(".thumb-class")).to_have_text([digit(0)[1], digit(1)[1]])
    pasted = handed(page, {f"{i}.png": digit(i)[0] for i in range(3)})
    page.evaluate(PASTE, pasted)
    expect(thumbs(page).locator(".thumb-class")).to_have_text([digit(i)[1] for i in range(3)])


def test_more_than_one_request_takes(tmp_path: Path, browser: Browser) -> None:
    with running(tmp_path, **FEW) as site, new_window(browser, site.url) as window:
        page = window.page
        models(site)
        page.goto(f"{site.url}/#/try?model=digits-production")
        drop(page, digit(0)[0], "kept.png")
        expect(page.get_by_role("status", name="Answer")).to_be_visible()
        alert = page.get_by_role("alert").filter(has_text="No answer")
        drop_all(page, {f"{i}.png": digit(i)[0] for i in range(4)})
        expect(alert).to_contain_text("4 images are too many: one request takes 3 images at most")
        drop_all(page, {f"{i}.png": 21_000 * b"x" for i in range(2)})
        expect(alert).to_contain_text("are too large: one request takes 40.0 KiB at most")
        page.evaluate(PASTE, page.evaluate_handle("new DataTransfer()"))
        drop_all(page, {})
        expect(alert).to_contain_text("there is no image among these files")
        expect(page.locator(".preview-name")).to_have_text("kept.png")
        expect(page.get_by_role("status", name="Answer")).to_be_visible()


def test_a_key_that_may_only_predict(site: Site, window: Window) -> None:
    models(site)
    key = site.new_key("predict")
    window.expected.append(REQUEST_FAILED)  # until it is signed in
    page = window.page
    page.goto(site.url)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Try it")).to_be_visible()
    expect(page.get_by_role("navigation", name="Pages").get_by_role("link")).to_have_text("Try it")
    refused: list[str] = []
    page.on("response", lambda got: refused.append(got.url) if got.status >= 400 else None)
    choices = page.get_by_label("Model or checkpoint").locator("option")
    expect(choices).to_have_text(["digits-new", "digits-night", "digits-production"])
    page.get_by_label("Model or checkpoint").select_option("digits-night")
    content, truth = digit(0)
    drop(page, content)
    expect(page.get_by_role("status", name="Answer")).to_contain_text(truth)
    page.get_by_label("What it really shows").fill(truth)
    page.get_by_role("button", name="Save label").click()
    expect(page.get_by_text(f"Stored: {truth}.")).to_be_visible()
    assert refused == []
