"""Data sets and their images; workers and what they do."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.fill import HOSTILE
from tests.acceptance.dashboard.serving import workers
from tests.acceptance.dashboard.site import Site
from tests.api.helpers import picture

pytestmark = pytest.mark.acceptance


def upload(site: Site, name: str, classes: tuple[str, ...] = ("cat", "dog")) -> str:
    """A data set of noise with one broken image; its id."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for c, each in enumerate(classes):
            for i in range(60):
                zipped.writestr(f"{each}/{i}.png", picture(1000 * c + i))
        zipped.writestr(f"{classes[0]}/broken.png", b"no image")
    answer = httpx.post(
        f"{site.url}/datasets",
        params={"name": name},
        content=file.getvalue(),
        headers={"Content-Type": "application/zip"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_without_data_sets_it_says_what_to_do(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/datasets")
    expect(page.get_by_text("There are no data sets yet.")).to_be_visible()


def test_a_data_set_with_its_images(site: Site, page: Page) -> None:
    id = upload(site, "pets")
    stored = site.ask(f"/datasets/{id}")
    page.goto(f"{site.url}/#/datasets")
    row = page.locator("tbody tr")
    train = sum(stored["splits"]["train"].values())
    expect(row).to_contain_text(f"{train}")
    expect(row).to_contain_text("1 warning")
    page.get_by_role("link", name="pets").click()
    expect(page.get_by_role("region", name="Warnings")).to_contain_text("broken.png")
    [warning] = stored["warnings"]
    said = f"{warning['message']}. {warning['action']}"
    expect(page.get_by_role("region", name="Warnings")).to_contain_text(said)
    images = page.locator(".samples img")
    expect(images).to_have_count(48)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.samples img')].slice(0, 4)"
        ".every((each) => each.complete && each.naturalWidth > 0)"
    )
    page.get_by_role("button", name="More").click()
    expect(images).to_have_count(96)
    page.get_by_label("Class", exact=True).select_option("dog")
    expect(page.locator(".sample-class").first).to_have_text("dog")
    expect(page.locator(".sample-class").filter(has_text="cat")).to_have_count(0)
    page.get_by_label("Split", exact=True).select_option("test")
    expect(images).to_have_count(stored["splits"]["test"]["dog"])
    page.get_by_role("tab", name="Classes").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("cat")


def test_look_alikes_are_shown_in_pairs(site: Site, page: Page) -> None:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for place, split in enumerate(("train", "validation", "test")):
            for c, each in enumerate(("cat", "dog")):
                for i in range(10):
                    zipped.writestr(f"{split}/{each}/{i}.png", picture(1000 * place + 100 * c + i))
        again = Image.open(BytesIO(picture(5))).resize((80, 80), Image.Resampling.BILINEAR)
        jpeg = BytesIO()
        again.save(jpeg, "JPEG")
        zipped.writestr("test/dog/again.jpg", jpeg.getvalue())
    headers = {"Content-Type": "application/zip"}
    answer = httpx.post(
        f"{site.url}/datasets", content=file.getvalue(), headers=headers, timeout=60
    )
    assert answer.status_code == 201, answer.text
    page.goto(f"{site.url}/#/datasets/{answer.json()['id']}")
    page.get_by_role("tab", name="Look-alikes (1)").click()
    pair = page.get_by_role("list", name="Images that look alike").get_by_role("listitem")
    expect(pair).to_have_count(1)
    expect(pair).to_contain_text("test/dog/again.jpg")
    expect(pair).to_contain_text("train/cat/5.png")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.near-copies img')]"
        ".every((each) => each.complete && each.naturalWidth > 0)"
    )


def test_hostile_names_are_text_and_deleting_asks_first(site: Site, window: Window) -> None:
    page = window.page
    id = upload(site, HOSTILE[1], (HOSTILE[3], "W" * 150))
    page.goto(f"{site.url}/#/datasets/{id}?tab=classes")
    expect(page.get_by_role("heading", name=HOSTILE[1])).to_be_visible()
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0
    assert page.evaluate("window.hacked") is None
    page.get_by_role("button", name="Delete").click()
    page.keyboard.press("Escape")
    assert site.ask(f"/datasets/{id}")["deleted_at"] is None
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("There are no data sets yet.")).to_be_visible()


def test_samples_that_do_not_come_are_said(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page, id = window.page, upload(site, "pets")
    page.route(re.compile(r"/samples\?"), lambda route: route.abort())
    page.goto(f"{site.url}/#/datasets/{id}")
    alert = page.get_by_role("alert").filter(has_text="The images cannot be shown")
    expect(alert).to_contain_text("the server does not answer")
    page.unroute_all()
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator(".samples img")).to_have_count(48)


def test_workers(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/workers")
    expect(page.get_by_text("No worker was active in the last day.")).to_be_visible()
    workers(site, HOSTILE[0])
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(page.get_by_text("3 workers of the last day: 1 busy, 1 idle, 1 stopped")).to_be_visible()
    busy = rows.filter(has_text="gpu-box-1:4121")
    for text in ("busy", "Test GPU", "80.0 GiB", "process 7"):
        expect(busy).to_contain_text(text)
    expect(rows.filter(has_text=HOSTILE[0])).to_contain_text("stopped")
    busy.get_by_role("link", name=re.compile("^job_")).click()
    expect(page.get_by_role("heading", name="digits, seed 9")).to_be_visible()
    assert page.evaluate("window.hacked") is None
