"""Folders, archives and files that the mouse drops onto the page that queues a job."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.site import Site
from tests.api.helpers import picture

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]
MANY = 230
"""More entries than a browser reads of a folder at a time."""


def fill(folder: Path, count: int, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i}.png").write_bytes(picture(seed + i))
    return folder


def drop(page: Page, *paths: Path, beside: bool = False) -> None:
    """Drag files and folders over the page as the system does, and let go of them."""
    place = page.get_by_role("heading", name="New job") if beside else page.locator(".drop")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send(
            "Input.dispatchDragEvent",
            {
                "type": kind,
                "x": box["x"] + box["width"] / 2,
                "y": box["y"] + box["height"] / 2,
                "data": {
                    "items": [],
                    "files": [str(path) for path in paths],
                    "dragOperationsMask": 1,
                },
            },
        )
        if kind == "dragOver":
            expect(page.locator(".drop")).to_have_class("drop over-drop")
    expect(page.locator(".drop")).to_have_class("drop")
    session.detach()


def new(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/#/new")
    expect(page.locator(".drop")).to_be_visible()


def stored(site: Site) -> list[dict[str, object]]:
    found: list[dict[str, object]] = site.ask("/datasets")["data"]
    return found


def chosen(page: Page, name: str) -> None:
    expect(page.get_by_role("combobox", name="Data set")).to_have_value(name, timeout=60_000)


def refused(page: Page, text: str) -> None:
    expect(page.get_by_role("alert").filter(has_text="Not uploaded")).to_contain_text(text)


def test_a_folder_with_folders(site: Site, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    fill(folder / "train" / "cat" / "indoors" / "asleep", MANY)
    fill(folder / "train" / "dog", 10, 1000)
    fill(folder / "test" / "cat", 10, 2000)
    fill(folder / "test" / "dog", 10, 3000)
    (folder / ".DS_Store").write_bytes(b"hidden")
    (folder / "empty").mkdir()
    new(site, page)
    drop(page, folder)
    chosen(page, f"pets, {MANY + 30} images")
    expect(page.get_by_text(f"{MANY + 10} images in train")).to_be_visible()
    [made] = stored(site)
    assert (made["name"], made["classes"]) == ("pets", ["cat", "dog"])


def test_an_archive(site: Site, page: Page, tmp_path: Path) -> None:
    archive = tmp_path / "pets.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for i in range(20):
            made.writestr(f"{('cat', 'dog')[i % 2]}/{i}.png", picture(i))
    new(site, page)
    drop(page, archive)
    chosen(page, "pets.zip, 20 images")


def test_several_folders_beside_the_place(site: Site, page: Page, tmp_path: Path) -> None:
    """Each folder is a class, and what falls beside does not take the place of the page."""
    folders = [fill(tmp_path / name, 12, 100 * i) for i, name in enumerate(("cat", "dog", "owl"))]
    new(site, page)
    drop(page, *folders, beside=True)
    chosen(page, "cat, dog, owl, 36 images")
    expect(page.get_by_text("36 images in 3 classes")).to_be_visible()
    assert page.url.endswith("/#/new")


def test_images_with_a_table(site: Site, page: Page, tmp_path: Path) -> None:
    images = sorted(fill(tmp_path / "images", 24).iterdir())
    table = tmp_path / "labels.csv"
    rows = [f"{path.name},{('cat', 'dog')[i % 2]}" for i, path in enumerate(images)]
    table.write_text("\n".join(["filepath,label", *rows]))
    new(site, page)
    drop(page, *images, table)
    expect(page.get_by_text("24 images in 2 classes")).to_be_visible()


def test_what_cannot_be_used_says_why(site: Site, window: Window, tmp_path: Path) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    images = sorted(fill(tmp_path / "images", 3).iterdir())
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "readme.txt").write_text("nothing to see")
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    archive = tmp_path / "pets.zip"
    archive.write_bytes(b"no archive")
    new(site, page)
    drop(page, *images)
    refused(page, "the class of 0.png is")
    drop(page, images[1])
    refused(page, "the class of 1.png is")
    drop(page, notes)
    refused(page, "there is no image in notes")
    drop(page, nothing)
    refused(page, "there is no image in nothing")
    drop(page, notes / "readme.txt")
    refused(page, "readme.txt is neither a zip, tar nor tar.gz archive")
    drop(page, tmp_path / "images", archive)
    refused(page, "pets.zip must be dropped alone")
    drop(page, tmp_path / "images")
    refused(page, "class")
    assert stored(site) == []
    fill(tmp_path / "both" / "cat", 8)
    fill(tmp_path / "both" / "dog", 8, 100)
    drop(page, tmp_path / "both")
    chosen(page, "both, 16 images")
    expect(page.get_by_text("Not uploaded")).to_have_count(0)
