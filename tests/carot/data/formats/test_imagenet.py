"""The ImageNet family in the layouts that people have on disk."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import open_clip
import pytest

from carot.data.formats.imagenet import SHARES
from carot.data.formats.objectnet import open_objectnet, shared_classes
from carot.data.formats.wordnet import are_imagenet, imagenet_ids, imagenet_templates
from carot.data.resolve import open_dataset
from carot.data.source import ImageSource
from carot.data.splits import SPLITS, split_of
from carot.errors import ClassMismatch, DataError, UnreadableImage
from carot.evaluation.rows import open_evaluation
from carot.models.prompts import DEFAULT_TEMPLATES, caption_names, default_templates
from carot.specs import EvaluationDataset, PromptSpec
from tests.carot.data.formats.imagenet_tree import (
    A_IDS,
    CLASSES,
    IDS,
    OBJECTNET,
    OF_TRAIN,
    R_IDS,
    build_family,
    build_objectnet,
    expected_split,
    write_image,
)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family(tmp_path_factory.mktemp("family"))


def labelled(source: ImageSource) -> dict[str, str]:
    return {
        key: source.classes[label] for key, label in zip(source.keys, source.labels, strict=True)
    }


def test_ids_are_those_of_imagenet_in_its_order() -> None:
    ids = imagenet_ids()
    assert len(set(ids)) == len(ids) == 1000
    assert [ids[index] for index, _, _ in CLASSES] == list(IDS)
    assert (ids[999], list(ids)) == ("n15075141", sorted(ids))


def test_test_is_val_and_the_rest_is_dealt_out_of_train_by_file_name(family: Path) -> None:
    sources = {split: open_dataset(f"imagenet:{family}/imagenet", split) for split in SPLITS}
    for split, source in sources.items():
        assert source.classes == IDS
        assert source.keys == sorted(source.keys)
        assert all(key.split("/")[1] == name for key, name in labelled(source).items())
        if split == "test":
            assert all(key.startswith("val/") for key in source.keys)
            assert len(source) == 2 * len(IDS)
        else:
            assert all(expected_split(Path(key).name) == split for key in source.keys)
            assert len(source) == OF_TRAIN[split] * len(IDS)
    assert sources["test"].image(0).size == (40, 36)


def test_shares_of_train() -> None:
    counts = Counter(split_of(f"n01440764_{i}.JPEG".encode(), SHARES) for i in range(50_000))
    assert counts["train"] / 50_000 == pytest.approx(0.97, abs=0.003)
    assert counts["validation"] / 50_000 == pytest.approx(0.01, abs=0.002)
    assert counts["calibration"] / 50_000 == pytest.approx(0.02, abs=0.002)


def test_val_alone_can_be_evaluated(family: Path, tmp_path: Path) -> None:
    shutil.copytree(family / "imagenet" / "val", tmp_path / "val")
    (tmp_path / "val" / IDS[0] / "._hidden.JPEG").write_bytes(b"")
    (tmp_path / "val" / IDS[0] / "list.txt").write_text("")
    (tmp_path / "val" / ".cache").mkdir()
    source = open_dataset(f"imagenet:{tmp_path}", "test")
    assert (source.classes, len(source)) == (IDS, 2 * len(IDS))
    for split in ("train", "validation", "calibration"):
        empty = open_dataset(f"imagenet:{tmp_path}", split)
        assert (len(empty), empty.classes) == (0, IDS)


def test_v2_folders_are_class_indices(family: Path) -> None:
    nested = family / "imagenet-v2"
    for root in (nested, nested / "imagenetv2-matched-frequency-format-val"):
        source = open_dataset(f"imagenet-v2:{root}", "test")
        assert source.classes == IDS
        by_index = {str(index): wordnet_id for index, wordnet_id, _ in CLASSES}
        assert {key.split("/")[0]: name for key, name in labelled(source).items()} == by_index
        assert len(source) == 2 * len(IDS)
        assert len(open_dataset(f"imagenet-v2:{root}", "train")) == 0


@pytest.mark.parametrize(
    ("reference", "classes"),
    [
        ("imagenet-r:{}/imagenet-r", R_IDS),
        ("imagenet-a:{}/imagenet-a", A_IDS),
        ("imagenet-sketch:{}/imagenet-sketch", IDS),
        ("imagenet-sketch:{}/imagenet-sketch/sketch", IDS),
        ("imagenet-c:{}/imagenet-c/fog/3", IDS),
        ("imagenet-c:{}/imagenet-c/weather/fog/3", IDS),
    ],
)
def test_relatives_in_folders_by_wordnet_id(
    reference: str, classes: tuple[str, ...], family: Path
) -> None:
    source = open_dataset(reference.format(family), "test")
    assert source.classes == classes
    assert all(key.split("/")[0] == name for key, name in labelled(source).items())
    assert len(source) == 2 * len(classes)
    source.image(len(source) - 1)
    assert len(open_dataset(reference.format(family), "calibration")) == 0


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("imagenet:{}/nowhere", "neither train/ nor val/"),
        ("imagenet-r:{}/nowhere", "nowhere: no such folder"),
        ("imagenet-r:{}/imagenet-v2", "no folders by WordNet id"),
        ("imagenet-v2:{}/imagenet-r", "no folders by class index"),
        ("imagenet-c:{}/imagenet-c/fog/5", "fog/5: no such folder, nor below noise, blur"),
        ("objectnet:{}/imagenet-r", "no folder mappings/"),
        ("objectnet:{}/nowhere", "no such folder"),
    ],
)
def test_what_is_not_there_is_named(reference: str, message: str, family: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(reference.format(family), "test")
    assert caught.value.field == "dataset"


def test_strange_folders_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "r" / IDS[0] / "0.jpg", 0)
    with pytest.raises(DataError, match=r"only one class \(n01440764\)"):
        open_dataset(f"imagenet-r:{tmp_path}/r", "test")
    write_image(tmp_path / "r" / "n00000001" / "0.jpg", 0)
    with pytest.raises(DataError, match="n00000001: no WordNet ids of ImageNet"):
        open_dataset(f"imagenet-r:{tmp_path}/r", "test")
    (tmp_path / "a" / IDS[0]).mkdir(parents=True)
    (tmp_path / "a" / IDS[1]).mkdir(parents=True)
    with pytest.raises(DataError, match=f"{IDS[0]} has no images"):
        open_dataset(f"imagenet-a:{tmp_path}/a", "test")
    (tmp_path / "v2" / "7").mkdir(parents=True)
    (tmp_path / "v2" / "1000").mkdir(parents=True)
    with pytest.raises(DataError, match="1000 is no class index"):
        open_dataset(f"imagenet-v2:{tmp_path}/v2", "test")
    write_image(tmp_path / "flat" / "val" / "ILSVRC2012_val_00000001.JPEG", 0)
    with pytest.raises(DataError, match="no folders by WordNet id"):
        open_dataset(f"imagenet:{tmp_path}/flat", "test")


def test_objectnet_is_read_among_the_shared_classes(family: Path) -> None:
    for root in (family / "objectnet", family / "objectnet" / "objectnet-1.0"):
        source = open_dataset(f"objectnet:{root}", "test")
        assert source.classes == tuple(sorted(OBJECTNET))
        assert source.members == tuple(OBJECTNET[name] for name in source.classes)
        assert all(key.split("/")[1] == name for key, name in labelled(source).items())
        assert len(source) == 2 * len(OBJECTNET)
    assert len(open_dataset(f"objectnet:{family}/objectnet", "train")) == 0


def test_objectnets_frame_is_cut_off(tmp_path: Path) -> None:
    root = build_objectnet(tmp_path / "objectnet")
    source = open_objectnet(root, "test")
    image = source.image(0)
    assert image.size == (60, 50)
    inside = np.asarray(write_image(tmp_path / "same.png", 1000, (60, 50)))
    assert np.array_equal(np.asarray(image), inside)
    write_image(root / source.keys[1], 0, (4, 30))
    with pytest.raises(UnreadableImage, match="4x30 pixels are all frame"):
        source.image(1)


def test_a_shift_of_objectnet_keeps_its_members(family: Path) -> None:
    row = EvaluationDataset(
        name="foggy", dataset=f"objectnet:{family}/objectnet", shift="fog", restrict=True
    )
    opened = open_evaluation(row, IDS)
    assert opened.source.image(0).size == (60, 50)
    assert opened.label_space.members == ((4, 6), (9,), (5, 7, 8))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("folder_to_objectnet_label.json", None, "cannot be read"),
        ("imagenet_to_label_2012_v2", None, "cannot be read"),
        ("imagenet_to_label_2012_v2", "banana\n", "'Alarm clock' does not lead"),
        ("objectnet_to_imagenet_1k.json", "[1]", "no table"),
        ("objectnet_to_imagenet_1k.json", "{", "cannot be read"),
        ("objectnet_to_imagenet_1k.json", '{"Chair": 3}', "'Chair' does not lead"),
        ("objectnet_to_imagenet_1k.json", '{"Chair": "crane"}', "'Chair' does not lead"),
        ("objectnet_to_imagenet_1k.json", '{"Stool": "banana"}', "'Stool' does not lead"),
        ("objectnet_to_imagenet_1k.json", '{"Banana": "banana"}', "fewer than two"),
        ("pytorch_to_imagenet_2012_id.json", '{"1000": 45}', "does not lead"),
        (
            "folder_to_objectnet_label.json",
            '{"../../x": "Alarm clock"}',
            "'Alarm clock' does not lead",
        ),
        ("folder_to_objectnet_label.json", '{"..": "Alarm clock"}', "'Alarm clock' does not lead"),
    ],
)
def test_mappings_that_do_not_fit(
    file: str, text: str | None, message: str, tmp_path: Path
) -> None:
    mappings = build_objectnet(tmp_path / "objectnet") / "mappings"
    (mappings / file).unlink()
    if text is not None:
        (mappings / file).write_text(text)
    with pytest.raises(DataError, match=message):
        shared_classes(mappings)


def test_a_folder_that_the_mappings_name_must_be_there(tmp_path: Path) -> None:
    root = build_objectnet(tmp_path / "objectnet")
    shutil.rmtree(root / "images" / "chair")
    with pytest.raises(DataError, match="images lacks the folders chair"):
        open_objectnet(root, "test")


def test_some_of_the_classes_need_restrict(family: Path) -> None:
    for name in ("imagenet-r", "objectnet"):
        row = EvaluationDataset(name=name, dataset=f"{name}:{family}/{name}")
        with pytest.raises(ClassMismatch, match=r"lacks n01440764.*set restrict"):
            open_evaluation(row, IDS)
        assert open_evaluation(row.model_copy(update={"restrict": True}), IDS).label_space.members


def test_names_and_templates_are_those_of_open_clip() -> None:
    names = caption_names(IDS, PromptSpec())
    assert names == tuple(open_clip.IMAGENET_CLASSNAMES[index] for index, _, _ in CLASSES)
    assert (names[0], names[3], names[9]) == ("tench", "kit fox", "banana")
    given = PromptSpec(class_names={"n07753592": "yellow fruit"})
    assert caption_names(IDS, given)[9] == "yellow fruit"
    templates = imagenet_templates()
    assert len(set(templates)) == 80
    for template, theirs in zip(templates, open_clip.OPENAI_IMAGENET_TEMPLATES, strict=True):
        assert template.replace("{}", "kit fox") == theirs("kit fox")
    PromptSpec(templates=templates)  # each has one place


def test_they_are_the_default_of_wordnet_ids_only(tmp_path: Path) -> None:
    for number, name in enumerate(IDS[:3]):
        for i in range(20):
            write_image(tmp_path / name / f"{i}.png", 100 * number + i)
    reference = f"folder:{tmp_path}"
    classes = open_dataset(reference, "train").classes
    assert default_templates(reference, classes) == imagenet_templates()
    assert caption_names(classes, PromptSpec()) == ("tench", "great white shark", "brambling")
    for others in ((*classes, "cat"), (*classes, "n00000001"), ("cat", "dog"), ()):
        assert not are_imagenet(others)
        assert default_templates(reference, others) == DEFAULT_TEMPLATES
    assert caption_names((IDS[0], "a_cat"), PromptSpec()) == (IDS[0], "a cat")


def test_the_mapping_files_of_the_tree_have_the_published_form(family: Path) -> None:
    mappings = family / "objectnet" / "objectnet-1.0" / "mappings"
    lines = json.loads((mappings / "pytorch_to_imagenet_2012_id.json").read_text())
    assert sorted(lines.values()) == list(range(1000))
    assert sorted(map(int, lines)) == list(range(1000))
    assert len((mappings / "imagenet_to_label_2012_v2").read_text().splitlines()) == 1000
