"""What a job can start from, over HTTP; and what is refused when a job is sent."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

import pytest
from fastapi.testclient import TestClient

import api.jobs.architectures
from carot.models.catalogue import pairs

SIGLIP = {"architecture": "ViT-B-16-SigLIP", "pretrained": "webli"}


def test_every_pair_is_listed_with_what_each_method_does(client: TestClient) -> None:
    page = client.get("/architectures").json()
    found = {(each["architecture"], each["pretrained"]): each for each in page["data"]}
    assert set(found) == set(pairs())
    siglip = found["ViT-B-16-SigLIP", "webli"]
    assert siglip["tokenizer"] == "timm/ViT-B-16-SigLIP"
    assert "without orthogonality" in siglip["methods"]["carot"]
    assert found["RN50", "openai"]["batch_norm"]
    assert all(each["available"] for each in page["data"])


def submit(client: TestClient, model: dict[str, str]) -> tuple[int, list[tuple[str, str]]]:
    body = {"kind": "finetune", "model": model, "dataset": "builtin:digits"}
    answer = client.post("/jobs", json=body)
    errors = answer.json().get("errors", [])
    return answer.status_code, [(each["field"], each["message"]) for each in errors]


@pytest.mark.parametrize(
    ("architecture", "tag"),
    [
        ("ViT-B-16-quickgelu", "laion2b_s34b_b88k"),
        ("ViT-M-32", "openai"),
        ("swin_base_patch4_window7_224", "openai"),
    ],
)
def test_a_tag_that_no_job_could_use_is_refused(
    client: TestClient, architecture: str, tag: str
) -> None:
    status, [(field, message)] = submit(client, {"architecture": architecture, "pretrained": tag})
    assert (status, field) == (422, "model.pretrained")
    assert f"no weights '{tag}'" in message


def test_a_model_whose_package_is_missing_is_refused_when_sent(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert submit(client, SIGLIP)[0] == 201

    def without(name: str) -> ModuleSpec | None:
        return None if name == "transformers" else find_spec(name)

    monkeypatch.setattr(api.jobs.architectures, "find_spec", without)
    status, [(field, message)] = submit(client, SIGLIP)
    assert (status, field) == (422, "model.architecture")
    assert "carot[hf]" in message
    assert submit(client, {"architecture": "ViT-B-16", "pretrained": "openai"})[0] == 201


def test_a_repository_of_the_hub_is_named_in_full(client: TestClient) -> None:
    assert submit(client, {"architecture": "hf-hub:timm/ViT-B-16-SigLIP"})[0] == 201
    for name in ("hf-hub:", "hf-hub:timm", "hf-hub:../../etc/passwd", "hf-hub:a/b/c"):
        assert submit(client, {"architecture": name})[0] == 422, name
    mixed = {"architecture": "hf-hub:timm/ViT-B-16-SigLIP", "pretrained": "webli"}
    assert submit(client, mixed)[0] == 422


RESNET = {"architecture": "RN50", "pretrained": "openai"}


@pytest.mark.parametrize(
    ("model", "more", "field"),
    [
        (SIGLIP, {"method": {"name": "lipsum_ft"}}, "method.name"),
        (RESNET, {"training": {"accumulation_steps": 2}}, "training.accumulation_steps"),
        (RESNET, {"adapters": {}}, "adapters.towers"),
        (RESNET, {"adapters": {"targets": ["query"]}}, "adapters.towers"),
    ],
)
def test_what_a_run_would_refuse_behind_the_download_is_refused_when_sent(
    client: TestClient, model: dict[str, str], more: dict[str, Any], field: str
) -> None:
    body = {"kind": "finetune", "model": model, "dataset": "builtin:digits", **more}
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 422
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    mended: dict[str, Any] = {"method": {"name": "flyp"}, "training": {"freeze_batch_norm": True}}
    if "adapters" in more:
        mended["adapters"] = {"towers": ["text"]}
    assert client.post("/jobs", json=body | mended).status_code == 201


def test_terms_that_will_be_left_out_are_told_beforehand(client: TestClient) -> None:
    def codes(**body: Any) -> list[str]:
        spec = {"kind": "finetune", "dataset": "builtin:digits", **body}
        answer = client.post("/jobs/check", json=spec)
        assert answer.status_code == 200, answer.text
        return [each["code"] for each in answer.json()["warnings"]]

    assert "terms_left_out" in codes(model=SIGLIP)
    assert "terms_left_out" not in codes(model=SIGLIP, method={"name": "flyp"})
    assert "terms_left_out" not in codes(model={"architecture": "carot-mini"})
