"""Several processes train as one does: values and gradients of the whole batch, to float order.

Tolerances: 1e-12 in float64; in float32, 1e-6 and 1e-4 of each gradient, which tells sums of a
batch's gradients apart from any wrong factor, share or caption.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from carot.data.formats.folder import open_folder
from carot.distributed import ALONE, Ranks, Share, even_share
from carot.errors import ModelError, SpecError
from carot.events import Silent
from carot.models.clip import from_config
from carot.run import assist, execute
from carot.specs import FinetuneSpec, FlypMethod, TrainingSpec
from carot.training.anchors import each_filtered, random_filters
from carot.training.normalisation import prepare_normalisation
from tests.carot.run.listener import finetune
from tests.carot.tiny import CONFIG, save_tiny, write_images
from tests.carot.training import ranked
from tests.carot.training.ranked import ANCHORED, CASES, float64_gradient, gradients, on_ranks
from tests.carot.training.whole_runs import Run, assert_same_gradient

slow = pytest.mark.slow


@pytest.fixture(scope="module", params=[2, 3])
def gathered(request: pytest.FixtureRequest, tmp_path_factory) -> tuple[Path, list[dict]]:
    """The data, and what each of 2 or 3 processes has of a batch of 8 in every case."""
    root = tmp_path_factory.mktemp("gradients")
    write_images(root / "train", each=10)
    on_ranks(request.param, root, ranked.save_gradients, root, root)
    return root, [load_file(root / f"{rank}.safetensors") for rank in range(request.param)]


def of_case(found: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{name}/"): v for k, v in found.items() if k.startswith(f"{name}/")}


@slow
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_one_process(gathered, name: str) -> None:
    root, found = gathered
    method, training = CASES[name]
    expected = gradients(Run(root, method, batch_size=8, **training))
    assert ("loss.anchor" in expected) == ("anchor" in name)
    assert ("loss.distillation" in expected) == name.startswith("carot")
    assert any(float(g.abs().max()) > 1e-3 for n, g in expected.items() if "loss" not in n)
    for each in found:
        mine = of_case(each, name)
        assert mine.keys() == expected.keys()
        for key, value in expected.items():
            assert_same_gradient(value, mine[key], key)


@slow
def test_gradients_agree_to_the_last_digits_of_float64(gathered) -> None:
    _, found = gathered
    expected = float64_gradient(ALONE)
    for each in found:
        torch.testing.assert_close(each["float64"], expected, atol=1e-12, rtol=1e-12)


@slow
def test_every_process_has_the_same_gradient_bit_by_bit(gathered) -> None:
    _, found = gathered
    for each in found[1:]:
        for key, value in found[0].items():
            if "loss" not in key:
                assert torch.equal(each[key], value), key


@slow
def test_runs_end_as_one_process_does_and_go_on_after_a_stop(tmp_path: Path) -> None:
    write_images(tmp_path / "alone" / "train", each=10)
    for name in ("straight", "resumed"):
        write_images(tmp_path / name / "train", each=10)
    ranked.stop_for_another(ALONE, tmp_path / "alone")
    on_ranks(2, tmp_path, ranked.save_runs, tmp_path, tmp_path, ANCHORED)
    straight = load_file(tmp_path / "straight-0.safetensors")
    for name in ("straight-1", "resumed-0", "resumed-1"):
        for key, value in load_file(tmp_path / f"{name}.safetensors").items():
            assert torch.equal(value, straight[key]), (name, key)
    alone = Run(tmp_path / "one", ANCHORED)
    start = alone.weights()
    alone.fit()
    for found in (straight, load_file(tmp_path / "taken-up-1.safetensors")):
        check_close(found, alone.weights(), start)


@slow
def test_one_process_goes_on_where_two_have_stopped(tmp_path: Path) -> None:
    write_images(tmp_path / "train", each=10)
    on_ranks(2, tmp_path, ranked.stop_for_another, tmp_path)
    found, alone = Run(tmp_path, ANCHORED), Run(tmp_path / "one", ANCHORED)
    start = alone.weights()
    found.fit()
    assert found.steps()[0].step == 5
    alone.fit()
    check_close(found.weights(), alone.weights(), start)


def check_close(found: dict[str, Tensor], expected: dict, start: dict) -> None:
    """To a thousandth of the way; of attention's biases without the keys' third.

    Softmax takes that away: its gradient is noise, and AdamW makes whole steps of it.
    """
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        off, way = found[key] - value, value - start[key]
        if key.endswith("in_proj_bias"):
            off, way = (torch.cat([each.chunk(3)[0], each.chunk(3)[2]]) for each in (off, way))
        assert float(off.norm()) <= 1e-3 * float(way.norm()) + 1e-6, key


@slow
def test_a_stop_while_the_first_evaluates_a_candidate(tmp_path: Path) -> None:
    for split in ("train", "validation", "calibration", "test"):
        write_images(tmp_path / "images" / split, each=16 if split == "train" else 4)
    save_tiny(tmp_path / "model")
    selection = {"rule": "nll", "candidates": 2}
    spec = finetune(tmp_path / "model", tmp_path / "images", selection=selection)
    stopped, straight = tmp_path / "stopped", tmp_path / "straight"
    on_ranks(2, tmp_path / "1", ranked.stop_while_it_chooses, spec, stopped, joined=False)
    on_ranks(2, tmp_path / "2", ranked.run_to_the_end, spec, stopped, 5, joined=False)
    on_ranks(2, tmp_path / "3", ranked.run_to_the_end, spec, straight, 1, joined=False)
    reports = [json.loads((run / "report.json").read_text()) for run in (stopped, straight)]
    assert reports[0]["candidates"] == reports[1]["candidates"]
    name = "checkpoint/open_clip_model.safetensors"
    found, expected = load_file(stopped / name), load_file(straight / name)
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


@slow
def test_a_share_without_a_readable_image(tmp_path: Path) -> None:
    write_images(tmp_path / "train", each=60)
    (tmp_path / "train" / "dark" / "7.png").write_bytes(b"torn")
    source = open_folder(tmp_path, "train")
    torn = next(i for i, key in enumerate(source.keys) if key.endswith("dark/7.png"))
    on_ranks(2, tmp_path, ranked.save_torn, tmp_path, tmp_path, torn)
    run = Run(tmp_path, FlypMethod(), batch_size=2)
    steps = range(run.batches.steps_per_epoch)
    step = next(step for step in steps if torn in run.batches.indices(step))
    expected = gradients(run, step)
    for rank in (0, 1):
        for key, value in load_file(tmp_path / f"{rank}.safetensors").items():
            assert_same_gradient(value, expected[key], key)


@slow
def test_what_ranks_draw_and_what_they_agree_on(tmp_path: Path) -> None:
    on_ranks(2, tmp_path, ranked.check_randomness)
    on_ranks(3, tmp_path / "three", ranked.check_agreement, tmp_path)


@slow
def test_a_process_left_alone_says_so(tmp_path: Path) -> None:
    on_ranks(2, tmp_path, ranked.check_loss)


@pytest.mark.parametrize(("total", "count"), [(8, 1), (8, 3), (7, 2), (5, 5)])
def test_shares_cover_all_and_differ_by_one(total: int, count: int) -> None:
    shares = [even_share(total, rank, count) for rank in range(count)]
    samples = list(range(total))
    assert [i for share in shares for i in samples[share.span]] == samples
    sizes = [share.counts[share.rank] for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert {share.total for share in shares} == {total}


@pytest.mark.parametrize("counts", [(3, 3, 2), (0, 8), (1, 1, 6)])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_shares_have_the_anchors_of_the_whole(counts: tuple[int, ...], count: int) -> None:
    images_NCHW = torch.rand(sum(counts), 3, 8, 8)
    whole = random_filters(images_NCHW, count, torch.Generator().manual_seed(1))
    parts = []
    for rank in range(len(counts)):
        share = Share(counts, rank)
        generator = torch.Generator().manual_seed(1)
        parts.append(random_filters(images_NCHW[share.span], count, generator, share))
    found = torch.cat(parts)
    assert found.shape == whole.shape
    distance = torch.cdist(found.flatten(1), whole.flatten(1))
    assert float(distance.min(dim=0).values.max()) < 1e-4
    assert sorted(distance.argmin(dim=0).tolist()) == list(range(count))


@pytest.mark.parametrize("counts", [(3, 3, 2), (0, 8), (1, 1, 6)])
def test_shares_have_the_filtered_images_of_the_whole_in_order(counts: tuple[int, ...]) -> None:
    images_NCHW = torch.rand(sum(counts), 3, 8, 8)
    whole = each_filtered(images_NCHW, torch.Generator().manual_seed(1))
    parts = []
    for rank in range(len(counts)):
        share, generator = Share(counts, rank), torch.Generator().manual_seed(1)
        parts.append(each_filtered(images_NCHW[share.span], generator, share))
    torch.testing.assert_close(torch.cat(parts), whole)


def test_ranks_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with Ranks.of_environment() as ranks:
        assert ranks.alone
        assert ranks.first
        assert not torch.distributed.is_initialized()
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    ranks = Ranks.of_environment()
    assert (ranks.rank, ranks.count, ranks.first, ranks.alone) == (2, 3, False, False)


def test_a_batch_needs_an_image_for_each_process(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model")
    spec = FinetuneSpec.model_validate(
        {
            "model": {"folder": str(tmp_path / "model")},
            "dataset": "builtin:digits",
            "training": {"batch_size": 4},
        }
    )
    with pytest.raises(SpecError, match="5 processes") as caught:
        execute(spec, tmp_path, Silent(), ranks=Ranks(0, 5))
    assert caught.value.field == "training.batch_size"
    with pytest.raises(SpecError, match="5 processes"):
        assist(spec, tmp_path, ranks=Ranks(1, 5))


def test_batch_normalisation_needs_gpus() -> None:
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    model = from_config({**CONFIG, "vision_cfg": vision}, architecture="RN")
    prepare_normalisation(model, ALONE, TrainingSpec())
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelError, match="GPUs") as caught:
        prepare_normalisation(model, Ranks(0, 2), TrainingSpec())
    assert caught.value.field == "processes"
    vit = from_config(CONFIG)
    prepare_normalisation(vit, Ranks(0, 2), TrainingSpec())
