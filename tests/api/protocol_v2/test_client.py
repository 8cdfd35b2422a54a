"""The Open Inference Protocol V2 as a client sees it that others wrote: Triton's own."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.api.conftest import FILE
from tests.api.helpers import Start, bearer, new_key
from tests.api.operations.test_drain import Api
from tests.api.predict.test_predict import Service, png
from tests.api.predict.test_predict_real import CLASSES, folder
from tests.api.serving import listening

__all__ = ["folder"]


@pytest.fixture
def service(start: Start) -> Service:
    return Service(start(max_images=6))


@pytest.fixture
def client(service: Service) -> Iterator[triton.InferenceServerClient]:
    with listening(service.client) as port:
        url = f"127.0.0.1:{port}"
        with triton.InferenceServerClient(url) as client:
            yield client


def images(*content: bytes, binary: bool = True) -> triton.InferInput:
    """As that client sends them: bytes, or text in JSON."""
    sent = list(content) if binary else [base64.b64encode(each) for each in content]
    tensor = triton.InferInput("images", [len(sent)], "BYTES")
    return tensor.set_data_from_numpy(np.array(sent, dtype=np.object_), binary_data=binary)


def test_health_and_metadata(client: triton.InferenceServerClient, service: Service) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", service.checkpoint)
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    about = client.get_model_metadata("digits")
    assert about["versions"] == [service.checkpoint]
    assert about["inputs"] == [{"name": "images", "datatype": "BYTES", "shape": [-1]}]


def test_inference_as_it_is_by_default(client: triton.InferenceServerClient) -> None:
    """Binary both ways, all outputs."""
    found = client.infer(
        "digits", [images(png(255), b"junk", png(0))], request_id="r1", parameters={"max_risk": 0.2}
    )
    assert found.get_response()["id"] == "r1"
    assert found.as_numpy("label").tolist() == [b"bright", b"", b"dark"]
    assert found.as_numpy("index").tolist() == [1, -1, 0]
    confidence = found.as_numpy("confidence")
    assert confidence.dtype == np.float64
    high = 1 / (1 + np.exp(-0.5))
    assert confidence.tolist() == pytest.approx([high, 0.0, high])
    assert found.as_numpy("abstain").tolist() == [False, True, False]
    errors = found.as_numpy("error").tolist()
    assert (errors[0], errors[2]) == (b"", b"")
    assert errors[1]
    assert "bright" in json.loads(found.as_numpy("set")[0])
    assert found.as_numpy("probabilities") is None


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_every_way_on_the_wire(
    binary_in: bool, binary_out: bool, client: triton.InferenceServerClient, service: Service
) -> None:
    names = ("probabilities", "label", "abstain", "shift")
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in names]
    found = client.infer(
        "digits",
        [images(png(255), png(0), binary=binary_in)],
        service.checkpoint,
        outputs=outputs,
    )
    high = 1 / (1 + np.exp(-0.5))
    assert found.as_numpy("probabilities").shape == (2, 2)
    assert found.as_numpy("probabilities") == pytest.approx(
        np.array([[1 - high, high], [high, 1 - high]])
    )
    labels = [x if isinstance(x, str) else x.decode() for x in found.as_numpy("label")]
    assert labels == ["bright", "dark"]
    assert found.as_numpy("abstain").tolist() == [False, False]
    assert found.as_numpy("shift").dtype == np.float64
    assert found.as_numpy("confidence") is None


def test_errors_reach_the_client_in_words(client: triton.InferenceServerClient) -> None:
    for model, tensors, asked, status, words in (
        ("nothing", images(png(0)), {}, "404", "no model 'nothing'"),
        ("digits", images(b"junk"), {}, "422", "no image could be read"),
        ("digits", images(png(0)), {"coverage": 2.0}, "422", "parameters.coverage"),
        ("digits", images(*[png(0)] * 7), {}, "422", "1 to 6 images"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            client.infer(model, [tensors], parameters=asked)
        assert caught.value.status() == status
        assert words in caught.value.message()


def test_keys_are_shown_in_a_header(client: triton.InferenceServerClient, service: Service) -> None:
    key = bearer(new_key(service.client, "predict"))
    with pytest.raises(InferenceServerException, match="key is needed"):
        client.infer("digits", [images(png(0))])
    found = client.infer("digits", [images(png(0))], headers=key)
    assert found.as_numpy("label").tolist() == [b"dark"]
    assert client.is_server_ready()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_real_process_with_a_real_checkpoint(
    folder: Path, migrated: Path, tmp_path: Path
) -> None:
    shutil.copy(migrated, tmp_path / FILE)
    api = Api(tmp_path, folder, 5.0)
    try:
        sent = [png(level, (32, 32)) for level in (0, 80, 255)]
        files = [("images", (f"{i}.png", each)) for i, each in enumerate(sent)]
        like = httpx.post(
            f"{api.url}/predict", files=files, data={"model": "digits"}, timeout=60
        ).json()
        with triton.InferenceServerClient(f"127.0.0.1:{api.port}", network_timeout=60) as client:
            found = client.infer("digits", [images(*sent)])
            about = client.get_model_metadata("digits")
        tops = [each["top"][0] for each in like["predictions"]]
        assert [x.decode() for x in found.as_numpy("label")] == [top["label"] for top in tops]
        assert found.as_numpy("confidence") == pytest.approx([top["confidence"] for top in tops])
        assert found.get_response()["model_version"] == like["checkpoint"] == about["versions"][0]
        assert {"probabilities": [-1, len(CLASSES)]}.items() <= {
            each["name"]: each["shape"] for each in about["outputs"]
        }.items()
    finally:
        api.process.stop()
