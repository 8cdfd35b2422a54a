"""Faults in the dashboard's JavaScript, for tests in a browser."""

from __future__ import annotations

from tests.faults.fault import Fault

JOBS = "acceptance/test_jobs"
JOB = "acceptance/test_job"
FRAME = "acceptance/test_frame"
MODELS = "acceptance/test_models"
REPORT = "acceptance/test_report"


def page(name: str, old: str, new: str, only: str, *tests: str) -> Fault:
    """In a page, or in what all pages share."""
    return Fault(name, "dashboard", old, new, tests, only=only)


FAULTS = (
    page(
        "the list shows the raw error",
        "before calibration` }, percent(calibrated, 2))",
        "before calibration` }, percent(raw, 2))",
        "test_it_says_how_every_job_is", JOBS,
    ),
    page(
        "progress is turned round",
        "Math.min(1, step / total)",
        "Math.min(1, total / step)",
        "test_it_says_how_every_job_is", JOBS,
    ),
    page(
        "names are markup",
        "parent.append(String(child))",
        'parent.insertAdjacentHTML("beforeend", String(child))',
        "test_hostile_names_are_text", JOBS,
    ),
    page(
        "a name is a formula for a spreadsheet",
        r"/^[=+\-@\t\r]/.test(",
        r"/^[+\-@\t\r]/.test(",
        "test_hostile_names_are_text", JOBS,
    ),
    page(
        "rows are made anew with every answer",
        "before.get(name) ?? create(item)",
        "create(item)",
        "test_it_follows_what_happens", JOBS,
    ),
    page(
        "a hidden page asks as often",
        "HIDDEN_FACTOR = 15",
        "HIDDEN_FACTOR = 1",
        "test_a_hidden_page_asks_less_often", JOBS,
    ),
    page(
        "a page that was left goes on asking",
        "const leave = new AbortController();",
        "const leave = { signal: new AbortController().signal, abort() {} };",
        "test_a_page_that_nobody_has or test_signing_out_leaves_nothing or test_the_server_goes",
        FRAME, JOBS,
    ),
    page(
        "older means the same page",
        "next !== null && step(next, further,",
        "next !== null && step(cursor, further,",
        "test_versions_and_models_are_paged", "acceptance/test_pickers",
    ),
    page(
        "a change is sent without its token",
        'if (method !== "GET" && session.csrf)',
        'if (method === "GET" && session.csrf)',
        "test_signing_out_leaves_nothing", FRAME,
    ),
    page(
        "a job is cancelled unasked",
        "danger: true, ask: question,",
        "danger: true,",
        "test_cancelling_asks_first", JOB,
    ),
    page(
        "an event is told again",
        "events.filter((each) => each.seq > last)",
        "events.filter((each) => each.seq >= last)",
        "test_events_come_by_a_stream_and_without_one", JOB,
    ),
    page(
        "a dry run is none",
        "const body = { dry_run: dry,",
        "const body = { dry_run: !dry,",
        "test_from_an_alert_to_another_calibrator", MODELS,
    ),
    page(
        "rolling back takes the checkpoint's own calibrator",
        "move(row.made, row.change.calibrator_id)",
        "move(row.made, null)",
        "test_promoting_and_rolling_back or test_from_an_alert", MODELS,
    ),
    page(
        "both diagrams are the raw one",
        '["calibrated", row.reliability_calibrated]]',
        '["calibrated", row.reliability_raw]]',
        "test_diagrams_are_drawn", REPORT,
    ),
    page(
        "less than chance is more than chance",
        "const said = ece > chance;",
        "const said = ece < chance;",
        "test_the_table_stands_against_the_zero_shot_start", REPORT,
    ),
    page(
        "sets that are short hold",
        "return measured.coverage_interval[1] < asked",
        "return measured.coverage_interval[1] > asked",
        "test_calibrators_sets_risks", REPORT,
    ),
    page(
        "the sign of a difference is flipped",
        'value < 0 ? "−" : "+"',
        'value < 0 ? "+" : "−"',
        "test_two_checkpoints", "acceptance/test_compare",
    ),
    page(
        "worse is better",
        'found.better ? "better" : "worse"',
        'found.better ? "worse" : "better"',
        "test_two_checkpoints", "acceptance/test_compare",
    ),
)  # fmt: skip
