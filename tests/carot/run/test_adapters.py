"""Whole runs with adapters: what is stored, how it goes on, and what is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from carot.data.formats.folder import open_folder
from carot.errors import CheckpointError, Interrupted, SpecError
from carot.models.adapter_file import ADAPTERS_NAME, with_adapters
from carot.models.classifier import Classifier
from carot.models.clip import WEIGHTS_NAME, load_folder
from carot.run import execute
from carot.specs import LoraSpec
from carot.specs.parsing import parse_spec
from tests.carot.models.families import write_family
from tests.carot.run.listener import Listener, finetune, run

pytestmark = pytest.mark.slow
LORA = {"rank": 2}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / WEIGHTS_NAME)


@pytest.mark.parametrize("method", ["finetune", "lp_ft", "flyp", "carot", "tracer", "lipsum_ft"])
def test_the_checkpoint_is_the_merged_model(
    model_folder: Path, images: Path, tmp_path: Path, method: str
) -> None:
    spec = finetune(model_folder, images, method={"name": method}, adapters=LORA)
    result, _ = run(spec, tmp_path / "run")
    assert result.report.model_dump()["spec"]["adapters"]["rank"] == 2
    assert result.checkpoint is not None
    module = open_clip.create_model(f"local-dir:{result.checkpoint}").eval()
    assert not [name for name in module.state_dict() if "lora" in name or "parametr" in name]
    classifier = Classifier.load(result.checkpoint, "cpu")
    source = open_folder(images, "test")
    inputs = torch.stack([classifier.preprocess(source.image(i)) for i in range(len(source))])
    _, features_ND = classifier.outputs_of(inputs)
    with torch.no_grad():
        plain_ND = torch.nn.functional.normalize(module.encode_image(inputs), dim=-1)
    torch.testing.assert_close(features_ND, plain_ND, rtol=0, atol=1e-5)
    # The file beside it is the same checkpoint, given the start.
    again = with_adapters(load_folder(model_folder), result.checkpoint).module.state_dict()
    for name, value in weights(tmp_path / "run").items():
        assert torch.equal(again[name], value), name
    with safe_open(result.checkpoint / ADAPTERS_NAME, framework="pt") as opened:
        assert ("head" in set(opened.keys())) == (classifier.card.head == "trained")


def test_without_adapters_there_is_no_file(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    result, _ = run(finetune(model_folder, images), tmp_path / "run")
    assert result.checkpoint is not None
    assert not (result.checkpoint / ADAPTERS_NAME).exists()


@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"rule": "nll", "candidates": 4},
        {"rule": "nll", "candidates": 4, "over": "interpolation"},
    ],
)
def test_a_resumed_run_leaves_the_same_bytes(
    model_folder: Path, images: Path, tmp_path: Path, selection: dict[str, Any]
) -> None:
    spec = finetune(model_folder, images, adapters=LORA, selection=selection)
    straight, _ = run(spec, tmp_path / "straight")
    listener = Listener()

    def should_stop() -> bool:
        return len(listener.steps()) >= 3

    with pytest.raises(Interrupted):
        execute(spec, tmp_path / "resumed", listener, should_stop=should_stop)
    resumed, _ = run(spec, tmp_path / "resumed")
    assert resumed.report.datasets == straight.report.datasets
    for name in (WEIGHTS_NAME, "head.safetensors", ADAPTERS_NAME):
        path = Path("checkpoint") / name
        expected = (tmp_path / "straight" / path).read_bytes()
        assert (tmp_path / "resumed" / path).read_bytes() == expected


@pytest.mark.parametrize("over", ["training", "interpolation"])
def test_the_file_is_of_the_candidate_that_was_chosen(
    model_folder: Path, images: Path, tmp_path: Path, over: str
) -> None:
    selection = {"rule": "bound", "candidates": 4, "over": over}
    spec = finetune(model_folder, images, adapters=LORA, selection=selection)
    result, _ = run(spec, tmp_path / "run")
    assert len(result.report.candidates) == 4
    assert result.checkpoint is not None
    again = with_adapters(load_folder(model_folder), result.checkpoint).module.state_dict()
    for name, value in weights(tmp_path / "run").items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=1e-6)


def test_checkpoints_of_adapters_interpolate_and_merge(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    """They are checkpoints as any other: of full runs and of other ranks, too."""
    folders = []
    for number, adapters in enumerate(({"rank": 2}, {"rank": 3}, None)):
        spec = finetune(model_folder, images, adapters=adapters)
        folders.append(run(spec, tmp_path / str(number))[0].checkpoint)
    start = {"folder": str(model_folder)}
    of_all = [{"folder": str(folder)} for folder in folders]
    shared: dict[str, Any] = {"dataset": f"folder:{images}", "start": start}
    merge = {**shared, "kind": "merge", "models": of_all, "method": {"name": "model_stock"}}
    along = {**shared, "kind": "interpolate", "model": of_all[0], "alphas": [0, 0.5, 1]}
    for name, document in (("merged", merge), ("between", along)):
        result = execute(parse_spec(document), tmp_path / name, Listener())
        assert (tmp_path / name / "checkpoint" / WEIGHTS_NAME).exists(), result
        assert not (tmp_path / name / "checkpoint" / ADAPTERS_NAME).exists()


def test_a_tower_without_attention_is_refused_or_left_as_it_is(
    images: Path, tmp_path: Path
) -> None:
    resnet = write_family("CLIP ResNet", tmp_path / "resnet")
    with pytest.raises(SpecError, match="no attention blocks") as caught:
        run(finetune(resnet, images, adapters={"rank": 1}), tmp_path / "refused")
    assert caught.value.field == "adapters.towers"
    spec = finetune(resnet, images, adapters={"rank": 1, "towers": ["text"]})
    run(spec, tmp_path / "text")
    start, end = load_file(resnet / WEIGHTS_NAME), weights(tmp_path / "text")
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    assert {name for name in changed if name.startswith("visual.")} == {
        "visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias",
    }  # fmt: skip
    assert any(name.startswith("transformer.") for name in changed)


def test_a_snapshot_of_a_full_run_is_of_another_run(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    full = finetune(model_folder, images)
    run(full, tmp_path / "run")
    for adapters in (LoraSpec(), LoraSpec(rank=2)):
        spec = full.model_copy(update={"adapters": adapters})
        message = rf"another spec \(.*adapters\.rank is {adapters.rank}"
        with pytest.raises(CheckpointError, match=message):
            run(spec, tmp_path / "run")
