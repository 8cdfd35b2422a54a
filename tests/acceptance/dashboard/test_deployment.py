"""The dashboard of the service as it is deployed: a real job, watched to its real end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from cli.client import Document
from tests.acceptance.dashboard.conftest import Window
from tests.acceptance.harness import Deployment, training, write_digits

pytestmark = [pytest.mark.acceptance, pytest.mark.services, pytest.mark.timeout(300)]
LONG_MS = 120_000


@pytest.fixture
def deployed(browser: Browser, deployment: Deployment) -> Iterator[Window]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    window = Window(context, f"127.0.0.1:{deployment.port}")
    yield window
    context.close()
    window.check()


@pytest.fixture(scope="module")
def dataset(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Document:
    archive = write_digits(tmp_path_factory.mktemp("upload") / "digits.zip")
    return deployment.client.upload(archive, "three digits")


def test_a_job_to_its_end(deployment: Deployment, dataset: Document, deployed: Window) -> None:
    page = deployed.page
    page.goto(deployment.client.url)
    expect(page.get_by_text("There are no jobs yet.")).to_be_visible()
    job = deployment.client.post("/jobs", training(dataset["id"]))
    page.get_by_role("link", name="acceptance").click()
    heading = page.get_by_role("heading", name="acceptance")
    expect(heading).to_contain_text("succeeded", timeout=LONG_MS)
    expect(page.locator(".timeline-state .badge").first).to_have_text("succeeded")
    expect(page.locator(".chart svg.main-svg").first).to_be_visible()
    ended = deployment.client.get(f"/jobs/{job['id']}")
    measured = ended["headline"]
    results = page.locator(".card").filter(has=page.get_by_role("heading", name="Results"))
    expect(results).to_contain_text(f"{100 * measured['id_accuracy']:.1f} %")
    shown = measured["id_calibrated_ece"]
    expect(results).to_contain_text(f"{100 * (shown or measured['id_ece']):.2f} %")
    report = page.get_by_role("link", name="Report").get_attribute("href")
    assert ended["report_id"] in str(report)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert Path(str(urlsplit(download.value.url).path)).parts[1] == "checkpoints"


def test_cancelling_a_job_that_runs(
    deployment: Deployment, dataset: Document, deployed: Window
) -> None:
    page = deployed.page
    body = training(dataset["id"], epochs=2000) | {"name": "too long"}
    job = deployment.client.post("/jobs", body)
    page.goto(f"{deployment.client.url}/#/jobs/{job['id']}")
    heading = page.get_by_role("heading", name="too long")
    expect(heading).to_contain_text("running", timeout=LONG_MS)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(heading).to_contain_text("cancelled", timeout=LONG_MS)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    assert deployment.client.get(f"/jobs/{job['id']}")["state"] == "cancelled"
