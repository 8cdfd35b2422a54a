"""Weights under the names that open_clip gives them; of a `.bin` tensors and nothing else."""

from __future__ import annotations

import pickletools
import shutil
import zipfile
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file

from carot.errors import ModelError
from carot.models.clip import load_folder, load_model
from carot.specs import ModelSpec
from tests.carot.tiny import save_tiny

BIN = "open_clip_pytorch_model.bin"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its weights as a `.bin`."""
    folder = save_tiny(tmp_path_factory.mktemp("published") / "model")
    weights = folder / "open_clip_model.safetensors"
    torch.save(load_file(weights), folder / BIN)
    weights.rename(folder.parent / weights.name)
    (folder / "head.safetensors").unlink()
    return folder


def test_a_bin_is_read(published: Path) -> None:
    expected = load_file(published.parent / "open_clip_model.safetensors")
    found = load_folder(published).module.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.fixture
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with one repository, `somebody/tiny`, and no way to ask the hub itself."""
    repository = tmp_path / "models--somebody--tiny"
    snapshot = shutil.copytree(published, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return snapshot


TINY = ModelSpec(architecture="hf-hub:somebody/tiny")


def test_a_repository_of_the_hub_is_read(hub: Path) -> None:
    model = load_model(TINY)
    expected = load_folder(hub).module.state_dict()
    found = model.module.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert model.architecture == TINY.architecture
    assert model.tokenize(["a cat"]).shape == (1, 16)


def test_a_repository_without_weights_or_configuration_is_refused(hub: Path) -> None:
    (hub / BIN).unlink()
    with pytest.raises(ModelError, match="hf-hub:somebody/tiny"):
        load_model(TINY)  # open_clip would warn, and go on with random weights
    (hub / "open_clip_config.json").unlink()
    with pytest.raises(ModelError, match="hf-hub:somebody/tiny") as caught:
        load_model(TINY)
    assert caught.value.field == "model.architecture"


def test_a_bin_that_would_run_code_is_refused(published: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(published, tmp_path / "model")
    trace = tmp_path / "ran"
    hostile = b"\x80\x02cposix\nsystem\nX" + len(f"touch {trace}").to_bytes(4, "little")
    hostile += f"touch {trace}".encode() + b"\x85R."
    assert any(op.name == "REDUCE" for op, *_ in pickletools.genops(hostile))
    with (
        zipfile.ZipFile(published / BIN) as theirs,
        zipfile.ZipFile(folder / BIN, "w") as changed,
    ):
        for name in theirs.namelist():
            changed.writestr(name, hostile if name.endswith("data.pkl") else theirs.read(name))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_folder(folder)
    assert not trace.exists()


def test_a_folder_without_weights_is_refused(published: Path, tmp_path: Path) -> None:
    """open_clip itself would make random ones."""
    folder = shutil.copytree(published, tmp_path / "model")
    (folder / BIN).rename(folder / "other.bin")
    with pytest.raises(ModelError, match=r"no open_clip_model\.safetensors"):
        load_folder(folder)
