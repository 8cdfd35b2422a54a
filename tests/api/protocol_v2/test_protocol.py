"""The Open Inference Protocol V2, byte by byte: what it answers, and what it refuses."""

from __future__ import annotations

import base64
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from store.retention.deletion import delete
from store.tables import Checkpoint
from tests.api.helpers import Start, bearer, new_key
from tests.api.predict.test_predict import Brightness, Service, png
from tests.api.rows import add_checkpoint

PATH = "/v2/models/digits/infer"


@pytest.fixture
def service(start: Start) -> Service:
    return Service(start(max_images=6, max_image_bytes=100_000))


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def request(*images: str, **fields: Any) -> dict[str, Any]:
    tensor = {"name": "images", "datatype": "BYTES", "shape": [len(images)], "data": list(images)}
    return {"inputs": [tensor]} | fields


def values(answer: Any) -> dict[str, list[Any]]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def elements(*images: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(image)) + image for image in images)


def binary(service: Service, document: dict[str, Any], content: bytes, **headers: str) -> Any:
    head = json.dumps(document).encode()
    given = {"Inference-Header-Content-Length": str(len(head))} | headers
    return service.client.post(PATH, content=head + content, headers=given)


def binary_request(content: bytes, images: int, **fields: Any) -> dict[str, Any]:
    tensor = {
        "name": "images",
        "datatype": "BYTES",
        "shape": [images],
        "parameters": {"binary_data_size": len(content)},
    }
    return {"inputs": [tensor]} | fields


# Answers --------------------------------------------------------------------------------------


def test_it_says_what_predict_says(service: Service) -> None:
    images = [png(255), png(0), png(140)]
    asked = {"coverage": 0.95, "set_method": "aps", "max_risk": 0.2, "max_shift": 0.9}
    like = service.json(images=[text(i) for i in images], model="digits", **asked).json()
    answer = service.client.post(PATH, json=request(*map(text, images), id="7", parameters=asked))
    found = values(answer)
    body = answer.json()
    assert (body["model_name"], body["id"]) == ("digits", "7")
    assert body["model_version"] == service.checkpoint
    assert [(o["name"], o["datatype"], o["shape"]) for o in body["outputs"]] == [
        ("label", "BYTES", [3]),
        ("index", "INT32", [3]),
        ("confidence", "FP64", [3]),
        ("raw_confidence", "FP64", [3]),
        ("set", "BYTES", [3]),
        ("shift", "FP64", [3]),
        ("abstain", "BOOL", [3]),
        ("error", "BYTES", [3]),
    ]
    for i, each in enumerate(like["predictions"]):
        top = each["top"][0]
        for name in ("label", "index", "confidence", "raw_confidence"):
            assert found[name][i] == top[name]
        assert json.loads(found["set"][i]) == [member["label"] for member in each["set"]["labels"]]
        assert found["shift"][i] == each["shift"]["percentile"]
        assert found["abstain"][i] == each["abstain"]
    assert found["error"] == ["", "", ""]
    assert set(found["abstain"]) == {True, False}


def test_only_the_outputs_that_are_asked_for(service: Service) -> None:
    outputs = [{"name": "probabilities"}, {"name": "answer"}, {"name": "label"}]
    answer = service.client.post(
        PATH, json=request(text(png(255)), text(png(0)), outputs=outputs, parameters={"top_k": 1})
    )
    found = values(answer)
    assert list(found) == ["probabilities", "answer", "label"]
    assert answer.json()["outputs"][0]["shape"] == [2, 2]
    high = 1 / (1 + np.exp(-0.5))
    assert found["probabilities"] == pytest.approx([1 - high, high, high, 1 - high])
    whole = json.loads(found["answer"][0])
    assert whole["top"][0]["label"] == "bright"
    assert {"set", "evidence", "shift", "abstain_reasons"} <= whole.keys()


def test_binary_in_and_out(service: Service) -> None:
    content = elements(png(255), png(0))
    outputs = [
        {"name": "label", "parameters": {"binary_data": True}},
        {"name": "confidence"},
        {"name": "abstain", "parameters": {"binary_data": True}},
        {"name": "index", "parameters": {"binary_data": True}},
    ]
    answer = binary(service, binary_request(content, 2, outputs=outputs), content)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    head, rest = json.loads(answer.content[:length]), answer.content[length:]
    label, confidence, abstain, index = head["outputs"]
    assert label["parameters"] == {"binary_data_size": 4 + 6 + 4 + 4}
    assert "data" not in label
    assert confidence["data"] == pytest.approx([1 / (1 + np.exp(-0.5))] * 2)
    assert (abstain["parameters"], index["parameters"]) == (
        {"binary_data_size": 2},
        {"binary_data_size": 8},
    )
    assert rest == (b"\x06\0\0\0bright\x04\0\0\0dark" + b"\0\0" + b"\x01\0\0\0" + b"\0\0\0\0")


def test_all_outputs_binary_but_one(service: Service) -> None:
    outputs = [{"name": "label", "parameters": {"binary_data": False}}, {"name": "confidence"}]
    content = elements(png(255))
    asked = binary_request(
        content, 1, outputs=outputs, parameters={"binary_data_output": True, "timeout": 5}
    )
    answer = binary(service, asked, content)
    length = int(answer.headers["inference-header-content-length"])
    label, confidence = json.loads(answer.content[:length])["outputs"]
    assert label["data"] == ["bright"]
    assert confidence["parameters"] == {"binary_data_size": 8}
    assert struct.unpack("<d", answer.content[length:]) == pytest.approx((1 / (1 + np.exp(-0.5)),))


def test_a_column_of_images(service: Service) -> None:
    document = request(text(png(255)), text(png(0)))
    document["inputs"][0] |= {"shape": [2, 1], "data": [[text(png(255))], [text(png(0))]]}
    assert values(service.client.post(PATH, json=document))["label"] == ["bright", "dark"]


def test_one_broken_image_does_not_spoil_the_others(service: Service) -> None:
    images = ["!!", text(png(255)), text(b"junk"), text(bytes(100_001))]
    outputs = [{"name": n} for n in ("label", "error", "probabilities", "confidence", "index")]
    found = values(service.client.post(PATH, json=request(*images, outputs=outputs)))
    assert found["label"] == ["", "bright", "", ""]
    assert [bool(reason) for reason in found["error"]] == [True, False, True, True]
    assert "base64" in found["error"][0]
    assert "100000 bytes" in found["error"][3]
    assert found["index"] == [-1, 1, -1, -1]
    assert (found["confidence"][0], found["probabilities"][:2]) == (0.0, [0.0, 0.0])
    abstain = values(service.client.post(PATH, json=request(*images)))["abstain"]
    assert abstain == [True, False, True, True]
    none = service.client.post(PATH, json=request(text(b"junk"), "!!"))
    assert none.status_code == 422
    assert none.json()["error"] == "no image could be read"
    assert [each["field"] for each in none.json()["errors"]] == ["images.0", "images.1"]


def test_versions_are_checkpoints(service: Service) -> None:
    client = service.client
    other = add_checkpoint(service.context, b"other", ("dark", "bright", "grey"))
    client.put("/models/digits", json={"checkpoint": other})
    shown = client.get("/v2/models/digits").json()
    assert (shown["name"], shown["platform"]) == ("digits", "carot")
    assert shown["versions"] == [other, service.checkpoint]
    assert shown["inputs"] == [{"name": "images", "datatype": "BYTES", "shape": [-1]}]
    shapes = {each["name"]: each["shape"] for each in shown["outputs"]}
    assert (shapes["label"], shapes["probabilities"]) == ([-1], [-1, 3])
    old = f"/v2/models/digits/versions/{service.checkpoint}"
    shapes = {e["name"]: e["shape"] for e in client.get(old).json()["outputs"]}
    assert shapes["probabilities"] == [-1, 2]
    assert client.get(f"{old}/ready").json() == {"name": "digits", "ready": True}
    answer = client.post(f"{old}/infer", json=request(text(png(255))))
    assert values(answer)["label"] == ["bright"]
    assert answer.json()["model_version"] == service.checkpoint
    never = add_checkpoint(service.context, b"never", ("dark", "bright"))
    for version in (never, "1", f"ckpt_{26 * '0'}"):
        refused = client.get(f"/v2/models/digits/versions/{version}")
        assert refused.status_code == 404
        assert version in refused.json()["error"]
    with service.context.database.session() as session:
        delete(session, session.get_one(Checkpoint, service.checkpoint))
    assert client.get(f"{old}/ready").status_code == 410
    assert client.get("/v2/models/digits").json()["versions"] == [other]


class Moving(Service):
    """Whatever is not the first checkpoint takes until the gate opens to be loaded."""

    def _load(self, checkpoint_id: str) -> Brightness:
        assert checkpoint_id == self.checkpoint or self.gate.wait(20)
        return Brightness()


def test_a_version_that_is_named_answers_while_its_alias_moves(start: Start) -> None:
    service = Moving(start())
    client, document = service.client, request(text(png(255)), outputs=[{"name": "probabilities"}])
    assert client.post(PATH, json=document).json()["model_version"] == service.checkpoint
    other = add_checkpoint(service.context, b"other", ("dark", "bright"))
    service.gate.clear()
    client.put("/models/digits", json={"checkpoint": other})
    answer = client.post(PATH, json=document)
    assert values(answer)["probabilities"]
    assert answer.json()["model_version"] == service.checkpoint
    with ThreadPoolExecutor(1) as pool:
        named = f"/v2/models/digits/versions/{other}/infer"
        waiting = pool.submit(client.post, named, json=document)
        service.gate.set()
        assert waiting.result().json()["model_version"] == other


def test_health_and_metadata(service: Service) -> None:
    client = service.client
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    server = client.get("/v2").json()
    assert (server["name"], server["extensions"]) == ("carot", ["binary_tensor_data"])
    assert client.get("/v2/models/digits/ready").status_code == 200
    missing = client.get("/v2/models/nothing/ready")
    assert (missing.status_code, missing.json()["error"]) == (404, "no model 'nothing'")


def test_a_key_for_predictions_is_enough(service: Service) -> None:
    key, other = (bearer(new_key(service.client, scope)) for scope in ("predict", "jobs:read"))
    for path in ("/v2", "/v2/models/digits", "/v2/models/digits/ready"):
        assert service.client.get(path, headers=key).status_code == 200
    refused = service.client.post(PATH, json=request(text(png(0))), headers=other)
    assert refused.status_code == 403
    assert "predict" in refused.json()["error"]
    stranger = service.client.get("/v2/models/digits")
    assert stranger.status_code == 401
    assert "key is needed" in stranger.json()["error"]
    assert service.client.get("/v2/health/live").status_code == 200


# Refusals -------------------------------------------------------------------------------------

GOOD = text(png(255))


def tensor(**changes: Any) -> dict[str, Any]:
    return request(GOOD) | {"inputs": [request(GOOD)["inputs"][0] | changes]}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": request(GOOD)["inputs"] * 2}, "inputs.1"),
        (tensor(name="pixels"), "inputs.0.name"),
        (tensor(datatype="FP32"), "inputs.0.datatype"),
        (tensor(shape=[2]), "inputs.0.shape"),
        (tensor(shape=[0], data=[]), "inputs.0.shape"),
        (tensor(shape=[-1]), "inputs.0.shape.0"),
        (tensor(shape=[]), "inputs.0.shape"),
        (tensor(shape=[1, 2]), "inputs.0.shape"),
        (tensor(shape=[7], data=[GOOD] * 7), "inputs.0.shape"),
        (tensor(data=[1]), "inputs.0.data.0"),
        (tensor(data=[[[GOOD]]]), "inputs.0.data.0"),
        (tensor(data=None), "inputs.0.data"),
        (tensor(parameters={"shared_memory_region": "x"}), "inputs.0.parameters"),
        (tensor(parameters={"binary_data_size": 0}), "inputs.0.data"),
        (tensor(data=None, parameters={"binary_data_size": 3}),
         "inputs.0.parameters.binary_data_size"),
        (request(GOOD, outputs=[{"name": "logits"}]), "outputs.0.name"),
        (request(GOOD, outputs=[{"name": "label"}] * 2), "outputs.1.name"),
        (request(GOOD, outputs=[{"name": "label", "parameters": {"classification": 2}}]),
         "outputs.0.parameters"),
        (request(GOOD, outputs=[{"name": "label", "parameters": {"binary_data": 1}}]),
         "outputs.0.parameters"),
        (request(GOOD, parameters={"coverge": 0.9}), "parameters.coverge"),
        (request(GOOD, parameters={"coverage": 1.5}), "parameters.coverage"),
        (request(GOOD, parameters={"max_risk": "x"}), "parameters.max_risk"),
        (request(GOOD, parameters={"binary_data_output": "yes"}), "parameters.binary_data_output"),
        (request(GOOD, parameters={"coverage": 0.9999}), "coverage"),
        (request(GOOD, parameters={"max_risk": 1e-6}), "max_risk"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(document: Any, field: str, service: Service) -> None:
    answer = service.client.post(PATH, json=document)
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert body["errors"][0]["field"] == field
    assert body["error"] == body["detail"]
    assert field in body["error"] or body["errors"][0]["message"] in body["error"]


def test_binary_data_that_makes_no_sense(service: Service) -> None:
    whole = elements(png(255))

    def refused(content: bytes, told: dict[str, Any] | None = None, **headers: str) -> str:
        document = told or binary_request(content, 1)
        answer = binary(service, document, content, **headers)
        assert answer.status_code == 422, answer.text
        return str(answer.json()["errors"][0]["field"])

    assert refused(whole[:-1]) == "inputs.0"  # an element that is cut off
    assert refused(whole + b"\0\0") == "inputs.0"  # a length that is
    assert refused(whole * 2) == "inputs.0.shape"
    assert refused(b"") == "inputs.0.shape"
    assert refused(whole, binary_request(whole + b"x", 1)) == "inputs.0.parameters.binary_data_size"
    assert refused(b"more", request(GOOD)) == "body"
    for length in ("x", "-1", "99999999", "9" * 50):
        named = {"Inference-Header-Content-Length": length}
        assert refused(whole, None, **named) == "Inference-Header-Content-Length"
    cut = binary(service, request(GOOD), b"", **{"Inference-Header-Content-Length": "5"})
    assert (cut.status_code, cut.json()["code"]) == (400, "invalid_json")
    packed = service.client.post(PATH, content=b"x", headers={"Content-Encoding": "gzip"})
    assert packed.status_code == 415


def test_bodies_of_images_may_be_large(start: Start) -> None:
    service = Service(start(max_body_bytes=50_000, max_json_bytes=2_000))
    noise = np.random.default_rng(0).bytes(20_000)
    answer = service.client.post(PATH, json=request(GOOD, text(noise)))
    assert answer.status_code == 200, answer.text
    too_large = service.client.post(PATH, json=request(GOOD, text(noise * 3)))
    assert too_large.status_code == 413
    assert "larger than" in too_large.json()["error"]
