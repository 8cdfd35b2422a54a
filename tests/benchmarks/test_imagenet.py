"""The table of ImageNet's shifts, on ImageNet in miniature and a tiny model with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from benchmarks import imagenet
from benchmarks.imagenet_estimate import snapshot_bytes
from benchmarks.imagenet_plan import METHODS, TITLES, planned, recipe_of, start
from benchmarks.imagenet_sets import PLACES, Refused, open_sets
from carot.calibration.metrics.metrics import compute_metrics
from carot.models.clip import CONFIG_NAME, WEIGHTS_NAME
from carot.models.prompts import Captions
from carot.run import REPORT_NAME
from carot.specs import ModelSpec
from carot.training.methods import build_method
from tests.carot.data.formats.imagenet_tree import IDS, build_family
from tests.carot.tiny import save_tiny, tiny_model
from tests.paths import DOCS

SETS = ["imagenet", "imagenet-v2", "imagenet-r", "imagenet-a", "imagenet-sketch", "objectnet"]
TINY = ("--epochs", "1", "--batch-size", "12")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family(tmp_path_factory.mktemp("family"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def folders(family: Path, *without: str) -> dict[str, Path | None]:
    names = {name: name if name in SETS else f"imagenet-{name}" for name in PLACES}
    return {name: None if name in without else family / at for name, at in names.items()}


def command(family: Path, model: Path, place: Path, *more: str, without: str = "") -> list[str]:
    given = [
        part
        for name, folder in folders(family, without).items()
        if folder is not None
        for part in (f"--{name}", str(folder))
    ]
    where = ("--runs", str(place / "runs"), "--out", str(place / "imagenet.json"))
    return [*given, "--model", "tiny", "--pretrained", str(model), *where, *more]


@pytest.mark.slow
def test_one_command_fills_the_table_and_goes_on_where_it_was(
    family: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(family, model, tmp_path, *TINY)
    first = [*arguments, "--methods", "zero-shot", "flyp"]
    imagenet.main(first)
    document = json.loads((tmp_path / "imagenet.json").read_text())
    assert [row["method"] for row in document["methods"]] == ["zero-shot", "flyp"]
    report = tmp_path / "runs" / "flyp" / REPORT_NAME
    before = report.stat().st_mtime_ns
    capsys.readouterr()

    imagenet.main(arguments)
    assert report.stat().st_mtime_ns == before  # what was done is not done again
    document = json.loads((tmp_path / "imagenet.json").read_text())
    assert document["provenance"]["versions"]["torch"]
    assert (document["sets"], document["missing"]) == (SETS, [])
    assert [row["method"] for row in document["methods"]] == list(METHODS)
    for row in document["methods"]:
        assert [each["classes"] for each in row["sets"].values()] == [10, 10, 3, 2, 10, 3]
        assert row["hours"] > 0
        trained = row["method"] != "zero-shot"
        assert (row["training"]["epochs"], row["training"]["batch_size"]) == (1, 12)
        run = tmp_path / "runs" / row["method"]
        assert (run / "checkpoint" / WEIGHTS_NAME).exists()
        assert not (run / "snapshot").exists()
        for index, each in enumerate(row["sets"].values()):
            kept = np.load(run / "logits" / f"{index}.npz")
            logits, labels = torch.tensor(kept["logits"]), torch.tensor(kept["labels"])
            expected = compute_metrics(logits, labels)
            assert each["raw"]["ece"] == pytest.approx(expected.ece, abs=1e-6)
            assert each["raw"]["debiased_ece"] == pytest.approx(expected.debiased_ece, abs=1e-6)
            assert each["calibrated"]["images"] == len(labels)
        if trained:
            zero_shot = np.load(tmp_path / "runs" / "zero-shot" / "logits" / "0.npz")["logits"]
            assert not np.array_equal(np.load(run / "logits" / "0.npz")["logits"], zero_shot)
    page = (tmp_path / "imagenet.md").read_text()
    for title in TITLES.values():
        assert page.count(f"| {title} |") == 3
    flyp = document["methods"][3]["sets"]["imagenet-r"]["raw"]
    cell = f"{100 * flyp['ece']:.2f} ({100 * flyp['ece_null_p95']:.2f})"
    assert cell in page
    assert capsys.readouterr().out.strip() == page.strip()


@pytest.mark.slow
def test_a_run_of_something_else_is_not_taken_for_it(
    family: Path, model: Path, tmp_path: Path
) -> None:
    arguments = command(family, model, tmp_path, *TINY, "--methods", "zero-shot")
    imagenet.main(arguments)
    with pytest.raises(SystemExit, match="choose another folder") as caught:
        imagenet.main([*arguments, "--epochs", "2"])
    assert "zero-shot" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [None, 50.0])
def test_a_dry_run_prints_hours_and_bytes_and_leaves_nothing(
    rate: float | None,
    family: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = () if rate is None else ("--images-per-second", str(rate))
    imagenet.main(command(family, model, tmp_path, *TINY, "--dry-run", *given))
    lines = capsys.readouterr().out.splitlines()
    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in lines}
    assert [title for title in TITLES.values() if title in cells] == list(TITLES.values())
    assert cells["zero-shot"][1] == "0"
    # 60 training images are 5 batches of 12.
    assert {cells[title][1] for title in TITLES.values()} == {"0", "60"}
    if rate is not None:
        row = cells["FLYP"]
        looked_at = int(row[2].replace(",", ""))
        hours = (60 / rate + looked_at / (3 * rate)) / 3600
        assert row[5] == f"{hours:,.2f}"
        assert "rates as given" in lines[-1]
    else:
        assert all(float(cells[t][3].replace(",", "")) > 0 for t in cells if t in ("FT", "CaRot"))
        assert "measured on this machine" in lines[-1]
    weights = (model / WEIGHTS_NAME).stat().st_size
    assert f"{weights / 1024 / 1024:.1f} MiB" in cells["FT"][6]
    assert "hours" in lines[-1]
    assert "bytes" in lines[-1]
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "imagenet.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ft", "flyp", "carot", "default"])
def test_a_snapshot_is_as_large_as_is_said(
    method: str, family: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    remove = shutil.rmtree

    def measured(path: Any, *args: Any, **options: Any) -> None:
        if Path(path).name == "snapshot":
            sizes.append((Path(path) / "snapshot.safetensors").stat().st_size)
        remove(path, *args, **options)

    monkeypatch.setattr(shutil, "rmtree", measured)
    imagenet.main(command(family, model, tmp_path, *TINY, "--methods", method))
    sets = open_sets(folders(family), skip_missing=False)
    run = planned(method, "tiny", ModelSpec(folder=str(model)), sets, {})
    tiny = tiny_model()
    built = build_method(run.spec.method, tiny, Captions(tiny, IDS, ("{}",)), 5, 0)
    assert sizes == [pytest.approx(snapshot_bytes(built), rel=0.02)]


def test_what_is_missing_is_named_with_the_place_to_get_it(
    family: Path, model: Path, tmp_path: Path
) -> None:
    given = folders(family, "a") | {"sketch": tmp_path / "nowhere"}
    with pytest.raises(Refused) as caught:
        open_sets(given, skip_missing=False)
    message = str(caught.value)
    for name in ("a", "sketch"):
        assert f"--{name}: " in message
        assert PLACES[name] in message
    assert "--r: " not in message
    assert "--skip-missing" in message
    found = open_sets(given, skip_missing=True)
    assert found.missing == ("a", "sketch")
    assert [row.name for row in found.rows] == [SETS[i] for i in (0, 1, 2, 5)]
    with pytest.raises(Refused, match="--imagenet: not given"):
        open_sets(folders(family, "imagenet"), skip_missing=True)
    with pytest.raises(SystemExit, match="data sets are missing"):
        imagenet.main(command(family, model, tmp_path, without="v2"))


@pytest.mark.parametrize("option", ["imagenet", "v2", "r", "objectnet"])
def test_a_folder_of_another_layout_is_refused_by_its_option(
    option: str, family: Path, tmp_path: Path
) -> None:
    (tmp_path / "wrong" / "pictures" / "deeper" / "still").mkdir(parents=True)
    given = folders(family) | {option: tmp_path / "wrong"}
    with pytest.raises(Refused, match=f"--{option}: ") as caught:
        open_sets(given, skip_missing=True)
    assert PLACES[option] in str(caught.value)


def test_imagenet_without_training_images_is_refused(family: Path, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "val").symlink_to(family / "imagenet" / "val")
    given = folders(family) | {"imagenet": tmp_path / "half"}
    with pytest.raises(Refused, match="--imagenet: no images to be its train split"):
        open_sets(given, skip_missing=False)


def test_methods_have_the_constants_they_were_published_with(family: Path) -> None:
    assert recipe_of("carot", "ViT-B-16") == "carot-imagenet-vit-b16"
    assert recipe_of("tracer", "ViT-L/14-quickgelu") == "tracer-imagenet-vit-l14"
    assert recipe_of("carot", "ViT-H-14") == "carot-paper"
    assert recipe_of("flyp", "ViT-B-16") == "flyp"
    sets = open_sets(folders(family), skip_missing=False)
    model = ModelSpec(architecture="ViT-B-16", pretrained="openai")
    for method in METHODS:
        spec = planned(method, "ViT-B-16", model, sets, {"seed": 3}).spec
        assert spec.training.seed == 3
        published = method not in ("default", "zero-shot")
        given = (10, 512) if published else (None, None)
        assert (spec.training.epochs, spec.training.batch_size) == given
        assert spec.evaluation.datasets == sets.rows


def test_weights_come_as_tag_folder_or_safetensors_file(tmp_path: Path) -> None:
    assert start("ViT-B-16", "openai", tmp_path).pretrained == "openai"
    (tmp_path / "folder").mkdir()
    assert start("x", str(tmp_path / "folder"), tmp_path).folder == str(tmp_path / "folder")
    weights = tmp_path / "vit.safetensors"
    save_file({"w": torch.ones(3)}, weights)
    made = Path(start("ViT-B-16", str(weights), tmp_path / "runs").folder or "")
    assert (made / WEIGHTS_NAME).read_bytes() == weights.read_bytes()
    config = json.loads((made / CONFIG_NAME).read_text())
    assert config["model_cfg"] == open_clip.get_model_config("ViT-B-16")
    (tmp_path / "vit.pt").touch()
    for name, message in (
        ("vit.pt", "only .safetensors"),
        ("nowhere.safetensors", "no such file"),
    ):
        with pytest.raises(Refused, match=message):
            start("ViT-B-16", str(tmp_path / name), tmp_path)
    with pytest.raises(Refused, match="no architecture 'ViT-Z'"):
        start("ViT-Z", str(weights), tmp_path)


@pytest.mark.parametrize(
    "more", [("--images-per-second", "3"), ("--dry-run", "--images-per-second", "0")]
)
def test_options_that_do_not_go_together(more: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        imagenet.main(["--model", "x", "--pretrained", "y", *more])
    assert caught.value.code == 2


def test_the_page_gives_the_command() -> None:
    page = (DOCS / "suites.md").read_text()
    block = page[page.index("python benchmarks/imagenet.py") :].split("```")[0]
    options = imagenet.parsed(block.replace("\\\n", " ").split()[2:])
    assert all(getattr(options, name) is not None for name in PLACES)
    assert options.methods == list(METHODS)
