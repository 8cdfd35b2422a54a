"""The page of one report: tables, diagrams, classes and mistakes, against the zero-shot start."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from store.tables import Report
from tests.acceptance.dashboard.conftest import REQUEST_FAILED, Window
from tests.acceptance.dashboard.fill import HOSTILE, finish, measure_only, new_job, start
from tests.acceptance.dashboard.reports import (
    ROWS,
    add_fine_tuned,
    add_zero_shot,
    fine_tuned,
    zero_shot,
)
from tests.acceptance.dashboard.site import Site

pytestmark = pytest.mark.acceptance


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def test_the_table_stands_against_the_zero_shot_start(site: Site, page: Page) -> None:
    add_zero_shot(site.database, site.artifacts)
    ids = add_fine_tuned(site.database, site.artifacts)
    page.goto(f"{site.url}/#/jobs/{ids['job']}")
    page.get_by_role("link", name="Report").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Report of carot")
    table = page.get_by_role("table", name="Accuracy and calibration")
    document, before = fine_tuned()[0], zero_shot()[0]
    expect(table.locator("tbody tr")).to_have_count(len(ROWS) + 1)
    for row, zero in zip(document["datasets"], before["datasets"], strict=True):
        shown = table.get_by_role("row", name=re.compile(f"^{row['name']}"))
        low, high = row["raw"]["accuracy_interval"]
        for text in (
            percent(row["raw"]["accuracy"]),
            f"{100 * low:.1f} to {100 * high:.1f}",
            percent(zero["raw"]["accuracy"]),
            percent(row["raw"]["ece"], 2),
            percent(row["calibrated"]["ece"], 2),
            percent(row["calibrated"]["ece_null_p95"], 2),
        ):
            expect(shown).to_contain_text(text)
    mean = table.get_by_role("row", name=re.compile("^OOD mean"))
    expect(mean).to_contain_text(percent(document["ood_mean"]["accuracy"]))
    expect(mean).to_contain_text(percent(document["ood_mean"]["calibrated_ece"], 2))
    expect(page.locator(".chart svg.main-svg").first).to_be_visible()


def test_diagrams_are_drawn_as_they_come_into_sight(site: Site, page: Page) -> None:
    ids = add_fine_tuned(site.database, site.artifacts)
    page.goto(f"{site.url}/#/reports/{ids['report']}?tab=reliability")
    charts = page.locator("[role=tabpanel]:visible .chart")
    expect(charts).to_have_count(len(ROWS))
    expect(charts.first.locator("svg.main-svg").first).to_be_visible()
    charts.last.scroll_into_view_if_needed()
    expect(charts.last.locator("svg.main-svg").first).to_be_visible()
    drawn = charts.first.locator(".chart-place").evaluate("each => each.data.map((line) => line.y)")
    document = fine_tuned()[0]["datasets"][0]
    assert drawn[1] == [each["accuracy"] for each in document["reliability_raw"] if each["count"]]
    assert drawn[4] == [each["count"] for each in document["reliability_calibrated"]]


def test_calibrators_sets_risks_shift_and_candidates(site: Site, page: Page) -> None:
    ids = add_fine_tuned(site.database, site.artifacts)
    document = fine_tuned()[0]
    page.goto(f"{site.url}/#/reports/{ids['report']}?tab=calibrators")
    table = page.get_by_role("table", name="Calibrators")
    expect(table.locator("tbody th")).to_have_text(
        ["raw", "temperature served", "isotonic", "vector", "domain temperature"]
    )
    expect(table.get_by_role("row", name=re.compile("^domain"))).to_contain_text("no domains")
    page.get_by_label("Calibrators on").select_option("noise-3")
    noise = next(row for row in document["datasets"] if row["name"] == "noise-3")
    vector = next(each for each in noise["calibrators"] if each["kind"] == "vector")
    shown = table.get_by_role("row", name=re.compile("^vector"))
    expect(shown).to_contain_text(percent(vector["metrics"]["ece"], 2))
    page.get_by_label("Calibrators on").select_option("OOD mean")
    mean = next(each for each in document["ood_mean"]["calibrators"] if each["kind"] == "vector")
    expect(shown).to_contain_text(percent(mean["ece"], 2))
    page.get_by_role("tab", name="Guarantees").click()
    sets = page.get_by_role("table", name="Prediction sets").locator("tbody tr")
    expect(sets).to_have_count(2 * len(ROWS))
    page.get_by_label("Method of the sets").select_option("")
    expect(sets).to_have_count(10 * len(ROWS))
    shift = page.get_by_role("table", name="Shift score")
    expect(shift.get_by_role("row", name=re.compile("^noise-3"))).to_contain_text(
        f"{noise['shift_score']['auroc']:.3f}"
    )
    expect(page.get_by_role("table", name="Risks").locator("tbody tr")).to_have_count(8)
    unseen, found = page.get_by_role("table", name="None of the classes"), document["unseen"]
    expect(unseen.locator("tbody tr")).to_have_count(3)
    served = unseen.get_by_role("row", name=re.compile("served"))
    expect(served).to_contain_text(found["chosen"])
    [figures] = [e for e in found["rows"][0]["scores"] if e["score"] == found["chosen"]]
    expect(served).to_contain_text(f"{figures['auroc']:.3f}")
    expect(served).to_contain_text(percent(found["rows"][0]["abstained"], 1))
    page.get_by_role("tab", name="Candidates").click()
    chosen = page.get_by_role("row", name=re.compile("^step 400"))
    expect(chosen).to_contain_text("chosen")
    page.go_back()  # the tabs make no steps of their own
    page.go_forward()
    expect(page.get_by_role("tab", name="Candidates")).to_have_attribute("aria-selected", "true")


def test_the_worst_class_stands_at_the_head_and_what_it_is_taken_for_below(
    site: Site, page: Page
) -> None:
    ids = add_fine_tuned(site.database, site.artifacts)
    page.goto(f"{site.url}/#/reports/{ids['report']}?tab=confusion")
    own = next(row for row in fine_tuned()[0]["datasets"] if row["in_distribution"])
    worst = own["worst_classes"]
    facts = page.locator(".facts").first
    expect(facts).to_contain_text("Worst class")
    expect(facts).to_contain_text(worst["gaps"][0]["name"] if worst["gaps"] else "beyond chance")
    matrix = page.get_by_role("table", name="Confusion matrix").first
    expect(matrix.locator("tbody tr")).to_have_count(len(worst["names"]))
    first = matrix.locator("tbody tr").first
    expect(first).to_contain_text(str(worst["confusion"][0][0]))


def test_classes_and_the_worst_mistakes_with_their_pictures(site: Site, page: Page) -> None:
    ids = add_fine_tuned(site.database, site.artifacts)
    page.goto(f"{site.url}/#/reports/{ids['report']}?tab=classes")
    expect(page.get_by_role("table", name="Classes").locator("tbody tr")).to_have_count(10)
    page.get_by_role("tab", name="Mistakes").click()
    page.get_by_role("tabpanel", name="Mistakes").get_by_label("Data set").select_option("noise-3")
    cards = page.locator(".mistake")
    expect(cards).to_have_count(24)
    page.wait_for_function("() => document.querySelector('img.mistake-picture')?.naturalWidth > 0")
    shares = [float(text.split()[-2]) for text in cards.locator("p:first-child").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)


def test_what_a_report_lacks_is_said(site: Site, window: Window) -> None:
    window.expected.append(REQUEST_FAILED)
    page = window.page
    held = start(site.database, new_job(site.database, "old"))
    _, report = finish(site.database, held)
    page.goto(f"{site.url}/#/reports/{report}")
    expect(page.get_by_text("This report measured no data set.").first).to_be_visible()
    job = measure_only(site.database, "short")
    page.goto(f"{site.url}/#/jobs/{job}")
    page.get_by_role("link", name="Report").click()
    expect(page.get_by_role("table", name="Accuracy and calibration")).to_contain_text("8.20 %")
    page.get_by_role("tab", name="Classes").click()
    expect(page.get_by_text(re.compile("kept no logits|Not shown")).first).to_be_visible()


def test_hostile_names_are_text(site: Site, page: Page) -> None:
    ids = add_fine_tuned(site.database, site.artifacts)
    with site.database.session() as session:
        row = session.get_one(Report, ids["report"])
        document = dict(row.document)
        document["datasets"] = [
            dict(each, name=name) for each, name in zip(document["datasets"], HOSTILE, strict=False)
        ]
        row.document = document
    for tab in ("overview", "reliability", "calibrators", "promises"):
        page.goto(f"{site.url}/#/reports/{ids['report']}?tab={tab}")
        expect(page.locator("[role=tabpanel]:visible").first).to_contain_text("window.hacked")
    assert page.evaluate("window.hacked") is None
