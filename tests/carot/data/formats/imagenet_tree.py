"""ImageNet and its relatives in miniature: a few images in the folders that people have."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# Class index, WordNet id, label in the file that comes with ObjectNet.
CLASSES = (
    (0, "n01440764", "tench, Tinca tinca"),
    (2, "n01484850", "great white shark, white shark"),
    (10, "n01530575", "brambling, Fringilla montifringilla"),
    (278, "n02119789", "kit fox, Vulpes macrotis"),
    (409, "n02708093", "analog clock"),
    (423, "n02791124", "barber chair"),
    (530, "n03196217", "digital clock"),
    (559, "n03376595", "folding chair"),
    (765, "n04099969", "rocking chair, rocker"),
    (954, "n07753592", "banana"),
)
IDS = tuple(wordnet_id for _, wordnet_id, _ in CLASSES)
R_IDS = ("n01484850", "n02119789", "n07753592")
A_IDS = ("n01440764", "n07753592")
OBJECTNET = {
    "alarm_clock": ("n02708093", "n03196217"),
    "banana": ("n07753592",),
    "chair": ("n02791124", "n03376595", "n04099969"),
}
OF_TRAIN = {"train": 6, "validation": 1, "calibration": 3}  # images a class


def expected_split(name: str) -> str:
    """Of an image of ImageNet's `train/`, from the hash of its file name."""
    position = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 16**16
    return "validation" if position < 0.01 else "calibration" if position < 0.03 else "train"


def write_image(path: Path, seed: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (3, 3, 3)).astype(np.uint8)
    image = Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)
    image.save(path)
    return image


def build_family(root: Path) -> Path:
    """Everything that the suites `imagenet` and `imagenet-c` look for, in one layout of each."""
    for number, (index, wordnet_id, _) in enumerate(CLASSES):
        for file in _train_names(wordnet_id):
            write_image(root / "imagenet" / "train" / wordnet_id / file, number)
        for i in range(2):
            seed = 100 * number + i
            val = root / "imagenet" / "val" / wordnet_id / f"ILSVRC2012_val_{seed:08d}.JPEG"
            write_image(val, seed)
            v2 = root / "imagenet-v2" / "imagenetv2-matched-frequency-format-val"
            write_image(v2 / str(index) / f"{seed:x}.jpeg", seed + 10)
            write_image(
                root / "imagenet-sketch" / "sketch" / wordnet_id / f"sketch_{i}.JPEG", seed + 20
            )
            if wordnet_id in R_IDS:
                write_image(root / "imagenet-r" / wordnet_id / f"art_{i}.jpg", seed + 30)
            if wordnet_id in A_IDS:
                write_image(root / "imagenet-a" / wordnet_id / f"0.{i}_bad.jpg", seed + 40)
            corrupted = root / "imagenet-c" / "weather" / "fog" / "3" / wordnet_id / val.name
            write_image(corrupted, seed + 50)
    (root / "imagenet-r" / "README.txt").write_text("not a class")
    build_objectnet(root / "objectnet" / "objectnet-1.0")
    return root


def build_objectnet(root: Path) -> Path:
    """Two images of each shared class and of one that ImageNet lacks, with the mapping files."""
    for number, folder in enumerate((*OBJECTNET, "squeegee")):
        for i in range(2):
            path = root / "images" / folder / f"{number}{i}.png"
            image = write_image(path, 1000 + 10 * number + i, (60, 50))
            ImageOps.expand(image, 2, (255, 0, 0)).save(path)
    mappings = root / "mappings"
    mappings.mkdir()
    labels = {
        "alarm_clock": "Alarm clock",
        "banana": "Banana",
        "chair": "Chair",
        "squeegee": "Squeegee",
    }
    by_id = {wordnet_id: label for _, wordnet_id, label in CLASSES}
    shared = {
        labels[folder]: "; ".join(by_id[each] for each in ids) for folder, ids in OBJECTNET.items()
    }
    # In the file of labels the order is another one, and one label is there twice.
    line_of = {index: 999 - index for index in range(1000)}
    lines = [f"something else {line}" for line in range(1000)]
    lines[1] = lines[2] = "crane"
    for index, _, label in CLASSES:
        lines[line_of[index]] = label
    (mappings / "folder_to_objectnet_label.json").write_text(json.dumps(labels))
    (mappings / "objectnet_to_imagenet_1k.json").write_text(json.dumps(shared))
    (mappings / "pytorch_to_imagenet_2012_id.json").write_text(json.dumps(line_of))
    (mappings / "imagenet_to_label_2012_v2").write_text("\n".join(lines) + "\n")
    return root


def _train_names(wordnet_id: str) -> list[str]:
    """File names of which the wanted number falls into each split."""
    names: list[str] = []
    counts: Counter[str] = Counter()
    number = 0
    while len(names) < sum(OF_TRAIN.values()):
        name = f"{wordnet_id}_{number}.JPEG"
        split = expected_split(name)
        if counts[split] < OF_TRAIN[split]:
            names.append(name)
            counts[split] += 1
        number += 1
    return names
