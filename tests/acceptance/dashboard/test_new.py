"""The page that queues a job: images, choices, explanations, errors, commands."""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, Request, expect

from store.tables import Job
from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.fill import HOSTILE, new_job
from tests.acceptance.dashboard.site import Site

pytestmark = pytest.mark.acceptance
IMAGES = 120


def png(shade: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (12, 12), (shade, 2 * shade % 255, 40)).save(made, "PNG")
    return made.getvalue()


def files() -> dict[str, bytes]:
    """Images of two classes in two splits; one of them is none."""
    found = {
        f"{('train', 'test')[i % 2]}/{('cat', 'dog')[i // 2 % 2]}/{i}.png": png(i)
        for i in range(IMAGES)
    }
    return found | {"train/cat/broken.png": b"no image at all"}


def asked(page: Page) -> dict[str, Any]:
    """What the page would send."""
    page.get_by_role("tab", name="JSON").click()
    text = page.get_by_label("The job for JSON").inner_text()
    document: dict[str, Any] = json.loads(text)
    return document


def spec_of(site: Site, job: str) -> dict[str, Any]:
    with site.database.reading() as session:
        return session.get_one(Job, job).spec


def queue(page: Page) -> str:
    """Press the button; the id of the job."""
    page.get_by_role("button", name="Queue the job").click()
    page.wait_for_url(re.compile("#/jobs/job_"))
    return page.url.rsplit("/", 1)[1]


def test_an_archive_is_uploaded_and_a_job_is_queued(site: Site, page: Page, tmp_path: Path) -> None:
    archive = tmp_path / "pets.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for name, content in files().items():
            made.writestr(name, content)
    page.goto(f"{site.url}/#/jobs")
    page.get_by_role("link", name="New job").click()
    page.get_by_label("Archive of images").set_input_files(archive)
    expect(page.get_by_text("120 images in 2 classes")).to_be_visible()
    expect(page.get_by_text("60 images in train")).to_be_visible()
    expect(page.locator(".note-box")).to_contain_text("broken.png")
    expect(page.locator(".samples img")).to_have_count(12)
    page.get_by_label("Name", exact=True).fill("pets")
    page.get_by_label("Preset").select_option("carot")
    page.get_by_text("Training", exact=True).click()
    epochs = page.get_by_label("Epochs")
    expect(epochs).to_have_attribute("placeholder", re.compile(r"^\d+$"))
    expect(page.get_by_text("Passes over the training split.")).to_be_visible()
    epochs.fill("3")
    page.get_by_label("Batch size").first.fill("16")
    said = asked(page)
    assert said["training"] == {"epochs": 3, "batch_size": 16}
    job = queue(page)
    expect(page.get_by_role("heading", name="pets")).to_contain_text("queued")
    spec = spec_of(site, job)
    assert (spec["dataset"], spec["preset"]) == (said["dataset"], "carot")
    assert spec["training"]["epochs"] == 3


def test_a_folder_is_packed(site: Site, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "häuser"
    longest = "train/cat/" + 25 * "läng" + ".png"
    for name, content in (files() | {longest: png(IMAGES), ".hidden/x.png": png(4)}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    page.goto(f"{site.url}/#/new")
    bodies: list[bytes] = []

    def note(each: Request) -> None:
        if "/datasets" in each.url:
            bodies.append(each.post_data_buffer or b"")

    page.on("request", note)
    page.get_by_label("Folder of images").set_input_files(folder)
    expect(page.get_by_text("121 images in 2 classes")).to_be_visible()
    expect(page.get_by_role("combobox", name="Data set")).to_have_value("häuser, 121 images")
    packed = max(bodies, key=len)
    if packed:  # the browser may not tell what it read from disk
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            names = set(archive.getnames())
        assert f"häuser/{longest}" in names
        assert not any("hidden" in name for name in names)


def test_what_is_wrong_stands_beside_its_field_and_nothing_is_lost(
    site: Site, window: Window
) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    page.goto(f"{site.url}/#/new")
    page.get_by_label("Name", exact=True).fill(HOSTILE[0])
    page.get_by_text("Training", exact=True).click()
    rate = page.get_by_label("Learning rate")
    rate.fill("fast")
    page.get_by_label("Epochs").fill("-1")
    page.get_by_role("button", name="Queue the job").click()
    expect(page.locator("#field-training-epochs-fault")).to_contain_text("greater")
    expect(page.locator("#field-training-learning_rate-fault")).to_contain_text("number")
    expect(rate).to_have_value("fast")
    expect(rate).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Method", exact=True).select_option("tracer")
    page.get_by_text("Settings of tracer").click()
    page.get_by_label("Feature weight").fill("-3")
    rate.fill("0.001")
    page.get_by_label("Epochs").fill("2")
    page.get_by_role("button", name="Queue the job").click()
    expect(page.locator("#field-method-feature_weight-fault")).to_contain_text("greater")
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    page.go_back()
    expect(page.locator(".error-box")).to_have_count(0)
    expect(page.get_by_label("Name", exact=True)).to_have_value(HOSTILE[0])
    expect(page.get_by_label("Epochs")).to_have_value("2")
    page.get_by_label("Feature weight").fill("")
    job = queue(page)
    spec = spec_of(site, job)
    assert spec["method"]["name"] == "tracer"
    assert spec["training"]["learning_rate"] == 0.001
    expect(page.get_by_role("heading", level=1)).to_contain_text(HOSTILE[0])


def test_models_are_offered_and_what_the_method_does_with_one_is_said(
    site: Site, page: Page
) -> None:
    page.goto(f"{site.url}/#/new")
    page.get_by_label("Start from").select_option("open_clip")
    offered = page.locator("#field-model-architecture-offered option")
    expect(offered.and_(page.locator("[value='ViT-B-16-SigLIP']"))).to_have_count(1)
    page.get_by_label("Architecture").fill("ViT-B-16-SigLIP")
    page.get_by_label("Pretrained").fill("webli")
    expect(page.get_by_text("carot trains, of ViT-B-16-SigLIP: both")).to_be_visible()
    expect(page.get_by_text("ends in no linear map")).to_be_visible()
    page.get_by_label("Method", exact=True).select_option("finetune")
    expect(page.get_by_text("text tower and logit scale stay")).to_be_visible()


def test_adapters_are_one_choice_and_their_rank(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    page.goto(f"{site.url}/#/new")
    trains = page.get_by_label("Trains", exact=True)
    expect(page.get_by_label("Rank of the adapters")).to_have_count(0)
    trains.select_option("lora")
    assert asked(page)["adapters"] == {"kind": "lora"}
    rank = page.get_by_label("Rank of the adapters")
    expect(rank).to_have_attribute("placeholder", "8")
    rank.fill("4")
    page.get_by_text("Settings of the adapters").click()
    page.get_by_label("Targets").fill('["query", "value"]')
    page.get_by_label("Method", exact=True).select_option("linear_probe")
    page.get_by_role("button", name="Queue the job").click()
    expect(page.locator("#field-adapters-kind-fault")).to_contain_text("trains no tower")
    page.get_by_label("Method", exact=True).select_option("flyp")
    job = queue(page)
    given = {"kind": "lora", "rank": 4, "targets": ["query", "value"]}
    adapters = spec_of(site, job)["adapters"]
    assert adapters == {**given, "alpha": 16.0, "towers": ["image", "text"]}
    expect(page.get_by_text("flyp, LoRA")).to_be_visible()
    page.get_by_role("link", name="Clone").click()
    expect(page.get_by_label("Rank of the adapters")).to_have_value("4")
    assert asked(page)["adapters"] == given
    page.get_by_label("Trains", exact=True).select_option("")
    assert "adapters" not in asked(page)


def test_commands_say_the_same(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/new")
    page.get_by_label("Name", exact=True).fill("it's `mine` $HOME")
    page.get_by_label("Kind", exact=True).first.select_option("evaluate")
    said = asked(page)
    assert said == {
        "kind": "evaluate",
        "name": "it's `mine` $HOME",
        "model": {"architecture": "carot-mini"},
        "dataset": "builtin:digits",
    }
    page.get_by_role("tab", name="curl").click()
    words = shlex.split(page.get_by_label("The job for curl").inner_text().replace("\\\n", " "))
    assert words[:4] == ["curl", "-X", "POST", f"{site.url}/jobs"]
    assert json.loads(words[words.index("-d") + 1]) == said
    page.get_by_role("tab", name="Command line").click()
    words = shlex.split(page.get_by_label("The job for Command line").inner_text())
    assert json.loads(words[2]) == said
    assert words[3:9] == [">", "job.json", "carot", "jobs", "submit", "job.json"]


def test_a_clone_says_what_its_job_said(site: Site, page: Page) -> None:
    given = {"training": {"epochs": 7, "batch_size": 64}, "calibration": {"calibrator": "auto"}}
    job = new_job(site.database, "first", like=given)
    page.goto(f"{site.url}/#/jobs/{job}")
    page.get_by_role("link", name="Clone").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("first again")
    expect(page.get_by_label("Preset")).to_have_value("carot")
    said = asked(page)
    assert said["training"] == {"epochs": 7, "batch_size": 64}
    assert said["calibration"] == {"calibrator": "auto"}
    copy = queue(page)
    chosen = {"learning_rate": 5e-4}  # the first one was stored with its rate left open
    before = spec_of(site, job)
    assert spec_of(site, copy) == before | {"training": before["training"] | chosen}
