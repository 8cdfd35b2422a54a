"""What somebody does with the dashboard in a week, in one browser, at the service as deployed."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from cli.client import Client
from store.access.keys import create_key
from store.database import Database
from store.tables import DEFAULT_PROJECT
from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window, new_window
from tests.acceptance.harness import Deployment, digit_png, write_digits

pytestmark = [pytest.mark.acceptance, pytest.mark.services, pytest.mark.timeout(600)]
LONG_MS = 180_000


@pytest.fixture
def key(deployment: Deployment) -> str:
    """An administrator's. From now on the service asks everybody for one."""
    with (
        closing(Database(deployment.environment["CAROT_DATABASE_URL"])) as database,
        database.session() as session,
    ):
        return create_key(session, DEFAULT_PROJECT, ["admin"], name="Ada")[1]


@pytest.fixture
def client(deployment: Deployment, key: str) -> Iterator[Client]:
    with Client(deployment.client.url, key=key) as made:
        yield made


@pytest.fixture
def window(browser: Browser, deployment: Deployment) -> Iterator[Window]:
    with new_window(browser, deployment.client.url) as made:
        made.expected.append(REQUEST_FAILED)  # before signing in, and while the server is gone
        yield made


def test_a_week(
    deployment: Deployment, key: str, client: Client, window: Window, tmp_path: Path
) -> None:
    page = window.page
    sign_in(page, deployment.client.url, key)
    upload(page, write_digits(tmp_path / "three digits.zip"))
    first = submit(page, "first", {"Epochs": "4", "Batch size": "18", "Learning rate": "0.0001"})
    watch_to_the_end(page, "first", client.get(f"/jobs/{first}"))
    checkpoint = download(page, client.get(f"/jobs/{first}"))
    open_the_report(page, client.get(f"/jobs/{first}"))
    second = clone(page, first, "second", epochs=2)
    expect(title(page, "second")).to_contain_text("succeeded", timeout=LONG_MS)
    other = client.get(f"/jobs/{second}")["checkpoint_id"]
    compare(page, checkpoint, other)
    name_a_model(page, "digits", checkpoint)
    promote(page, other)
    assert client.get("/models/digits")["checkpoint_id"] == other
    drop_an_image(page, deployment.client.url, key, tmp_path)
    third = clone(page, first, "too long", epochs=2000)
    cancel(page, "too long")
    assert client.get(f"/jobs/{third}")["state"] == "cancelled"
    lose_the_server(page, deployment, client, like=first)


def sign_in(page: Page, url: str, key: str) -> None:
    page.goto(url)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("There are no jobs yet.")).to_be_visible()


def upload(page: Page, archive: Path) -> None:
    """Three digits, as a new data set of a new job."""
    page.get_by_role("link", name="New job").click()
    page.get_by_label("Archive of images").set_input_files(archive)
    expect(page.get_by_text("96 images in 3 classes")).to_be_visible()
    expect(page.locator(".samples img").first).to_be_visible()


def submit(page: Page, name: str, training: dict[str, str]) -> str:
    """Fill in what the job is to be, and queue it; its id."""
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Method", exact=True).select_option("carot")
    page.get_by_text("Training", exact=True).click()
    for label, value in training.items():
        page.get_by_label(label).first.fill(value)
    return queue(page)


def queue(page: Page) -> str:
    page.get_by_role("button", name="Queue the job").click()
    page.wait_for_url(re.compile("#/jobs/job_"))
    return page.url.rsplit("/", 1)[1]


def title(page: Page, name: str) -> Locator:
    """The heading of a job's page, in which its state stands."""
    return page.get_by_role("heading", level=1, name=re.compile(f"^{name}"))


def watch_to_the_end(page: Page, name: str, job: dict[str, Any]) -> None:
    """Nothing is pressed: the page follows by itself."""
    assert job["state"] in ("queued", "running")
    expect(title(page, name)).to_contain_text("succeeded", timeout=LONG_MS)
    states = page.locator(".timeline-state .badge")
    expect(states).to_have_text(["succeeded", "running", "queued"])
    expect(page.locator(".chart svg.main-svg").first).to_be_visible()


def download(page: Page, ended: dict[str, Any]) -> str:
    """Results are those of the report, and the checkpoint can be had; its id."""
    measured, checkpoint = ended["headline"], str(ended["checkpoint_id"])
    results = page.locator(".card").filter(has=page.get_by_role("heading", name="Results"))
    expect(results).to_contain_text(f"{100 * measured['id_accuracy']:.1f} %")
    calibrated = measured["id_calibrated_ece"]
    ece = measured["id_ece"] if calibrated is None else calibrated
    expect(results).to_contain_text(f"{100 * ece:.2f} %")
    with page.expect_download() as got:
        page.get_by_role("link", name="Download").click()
    assert checkpoint in got.value.url
    assert got.value.path().stat().st_size > 0
    return checkpoint


def open_the_report(page: Page, ended: dict[str, Any]) -> None:
    page.get_by_role("link", name="Report").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Report of carot")
    assert page.url.endswith(ended["report_id"])
    table = page.get_by_role("table", name="Accuracy and calibration")
    accuracy = f"{100 * ended['headline']['id_accuracy']:.1f} %"
    expect(table.locator("tbody tr").first).to_contain_text(accuracy)


def clone(page: Page, job: str, name: str, epochs: int) -> str:
    """The same job for so many epochs; its id."""
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Jobs").click()
    page.locator(f"tbody a[href$='{job}']").click()
    page.get_by_role("link", name="Clone").click()
    page.get_by_label("Name", exact=True).fill(name)
    if not page.get_by_label("Epochs").is_visible():
        page.get_by_text("Training", exact=True).click()
    page.get_by_label("Epochs").fill(str(epochs))
    return queue(page)


def pick(page: Page, label: str, checkpoint: str) -> None:
    page.get_by_role("combobox", name=label, exact=True).click()
    page.get_by_role("option", name=checkpoint).click()


def compare(page: Page, first: str, second: str) -> None:
    page.get_by_role("link", name="Compare", exact=True).click()
    for i, each in enumerate((first, second), start=1):
        pick(page, f"Checkpoint {i}", each)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator(".legend li").first).to_contain_text("first")
    rows = page.get_by_role("table", name="Differences").locator("tbody tr")
    expect(rows.filter(has_text="accuracy").first).to_contain_text("points")


def name_a_model(page: Page, alias: str, checkpoint: str) -> None:
    page.get_by_role("link", name="Models").click()
    page.get_by_label("Name", exact=True).fill(alias)
    pick(page, "Checkpoint", checkpoint)
    page.get_by_role("button", name="Create model").click()
    expect(page.get_by_role("heading", level=1, name=alias)).to_be_visible()
    expect(page.locator(".target")).to_contain_text(checkpoint)


def promote(page: Page, checkpoint: str) -> None:
    page.get_by_role("tab", name="Promote and roll back").click()
    page.get_by_role("button", name=f"Promote {checkpoint}").click()
    page.get_by_role("dialog").get_by_role("button", name="Change it").click()
    expect(page.locator(".target")).to_contain_text(checkpoint)


def drop_an_image(page: Page, url: str, key: str, folder: Path) -> None:
    """Out of a folder of the desktop onto the page; the answer is the API's."""
    image = folder / "four.png"
    image.write_bytes(digit_png("four"))
    page.get_by_role("link", name="Try it").last.click()
    expect(page.get_by_label("Model or checkpoint")).to_have_value("model:digits")
    drag([image], page.locator(".drop"))
    says = page.get_by_role("status", name="Answer")
    answer = httpx.post(
        f"{url}/predict",
        files=[("images", (image.name, image.read_bytes()))],
        data={"model": "digits"},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    [top, *_] = answer.json()["predictions"][0]["top"]
    expect(says).to_contain_text(f"{top['label']} {100 * top['confidence']:.1f} %")


def drag(files: list[Path], onto: Locator) -> None:
    """Drag files from outside of the browser, and let them go in the middle of an element."""
    onto.scroll_into_view_if_needed()
    box = onto.bounding_box()
    assert box is not None
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(each) for each in files], "dragOperationsMask": 1}
    tools = onto.page.context.new_cdp_session(onto.page)
    for kind in ("dragEnter", "dragOver", "drop"):
        tools.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})
    tools.detach()


def cancel(page: Page, name: str) -> None:
    expect(title(page, name)).to_contain_text("running", timeout=LONG_MS)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(title(page, name)).to_contain_text("cancelled", timeout=LONG_MS)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def lose_the_server(page: Page, deployment: Deployment, client: Client, like: str) -> None:
    """It is killed and started anew; the page says so, keeps what it shows, and goes on."""
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("link", name="too long")).to_be_visible()
    lost = deployment.processes.pop("api")
    os.killpg(lost.pid, signal.SIGKILL)
    lost.finish(60)
    gone = page.get_by_text("The server does not answer. What you see may be out of date.")
    expect(gone).to_be_visible()
    expect(page.get_by_role("link", name="too long")).to_be_visible()
    deployment.start("api", "api")
    deployment.await_ready()
    again = client.post("/jobs", client.get(f"/jobs/{like}")["spec"] | {"name": "afterwards"})
    expect(page.get_by_role("link", name="afterwards")).to_be_visible(timeout=LONG_MS)
    expect(gone).to_be_hidden()
    client.post(f"/jobs/{again['id']}/cancel")
