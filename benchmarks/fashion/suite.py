"""The fashion suite: what is trained on; test pictures as they are, shifted, and of other kinds.

Fine-tuning, validation, calibration and the in-distribution test see all kinds of each class but
one. A *kind* is a visual cluster: the 12,000 training pictures' features of the start, by class, in
KINDS clusters (k-means); of each class the cluster whose centre lies farthest from the mean of the
other centres is held out, among those that hold at least LEAST_SHARE of the class. Other pictures
belong to the nearest centre of their class. Nothing is trained before that.

A shifted set is the first SHIFTED in-distribution test pictures under one change, at a severity of
3 to 5 that its key decides. Shape suffixes: N images, C classes, D embedding width, K kinds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor

from benchmarks.provenance import ROOT
from carot.data.fashion import CLASSES, SIZE, TEMPLATES, fashion
from carot.data.shifts.corruptions import CORRUPTIONS, corrupt_image
from carot.data.shifts.shifts import SHIFTS, shift_image
from carot.data.source import ArraySource, SubsetSource
from carot.models.clip import ClipModel, load_model
from carot.models.prompts import Captions, zero_shot_head
from carot.specs import ModelSpec

START = ModelSpec(architecture="carot-mini-fashion")
SEVERITIES = (3, 4, 5)
CHANGES = (*SHIFTS, *CORRUPTIONS)
ID, KIND, VALIDATION, CALIBRATION = "test", "kinds", "validation", "calibration"
OOD = (*CHANGES, KIND)
KINDS = 4
LEAST_SHARE = 0.1
TRAINING_IMAGES = 2000
SHIFTED = 4000
QUICK_TIMES = 50
"""Pictures of a split that a limited suite looks at, for each that a set may have."""
BATCH = 500
CACHE = ROOT / "build" / "fashion"


@dataclass(frozen=True)
class Images:
    """One set: pictures of shape (N, SIZE, SIZE, 3), uint8, and labels."""

    pixels_NHW3: NDArray[np.uint8]
    labels_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)


@dataclass(frozen=True)
class Suite:
    """Every set, and the start.

    Attributes:
        training: what runs train on.
        sets: by name: VALIDATION, CALIBRATION, ID, and all of OOD.
    """

    model: ClipModel
    captions: Captions
    training: SubsetSource
    sets: dict[str, Images]

    def text_head(self, model: ClipModel) -> Tensor:
        """The head that a model's text tower makes, times its logit scale, shape (C, D)."""
        return model.logit_scale.detach().exp() * zero_shot_head(model, self.captions)


@cache
def suite(limit: int | None = None) -> Suite:
    """The suite of this process; shifted pictures are made once and kept on disk.

    Args:
        limit: most pictures of a set; None for all.
    """
    model = load_model(START)
    captions = Captions(model, CLASSES, TEMPLATES)
    splits = {
        name: _first(fashion(None, name), None if limit is None else QUICK_TIMES * limit)
        for name in ("train", VALIDATION, CALIBRATION, ID)
    }
    held_out = held_out_kinds(model, splits)
    common = {name: (~held_out[name]).nonzero()[0] for name in splits}
    count = min(TRAINING_IMAGES, limit or TRAINING_IMAGES)
    training = SubsetSource(splits["train"], common["train"][:count].tolist())
    sets = {
        name: as_they_are(splits[name], common[name][:limit])
        for name in (VALIDATION, CALIBRATION, ID)
    }
    sets[KIND] = as_they_are(splits[ID], held_out[ID].nonzero()[0][:limit])
    shown = common[ID][: min(SHIFTED, limit or SHIFTED)]
    test = SubsetSource(splits[ID], shown.tolist())
    for name in CHANGES:
        sets[name] = Images(_changed(test, name), torch.from_numpy(test.labels))
    return Suite(model, captions, training, sets)


def _first(source: ArraySource, count: int | None) -> ArraySource:
    pixels, labels, keys = source.pixels[:count], source.labels[:count], source.keys[:count]
    return ArraySource(pixels, labels, source.classes, keys)


def as_they_are(source: ArraySource, chosen: NDArray[np.int64]) -> Images:
    """Some pictures of a source."""
    pixels_NHW3 = np.repeat(source.pixels[chosen][..., None], 3, axis=3)
    return Images(pixels_NHW3, torch.from_numpy(source.labels[chosen]))


def held_out_kinds(
    model: ClipModel, splits: dict[str, ArraySource]
) -> dict[str, NDArray[np.bool_]]:
    """For each split, which pictures are of the kind of their class that is held out."""
    features = {
        name: features_of(model, as_they_are(source, np.arange(len(source))))[0].numpy()
        for name, source in splits.items()
    }
    result = {name: np.zeros(len(source), dtype=bool) for name, source in splits.items()}
    for label in range(len(CLASSES)):
        mine = features["train"][splits["train"].labels == label]
        clusters = KMeans(KINDS, n_init=4, random_state=0).fit(mine)
        share_K = np.bincount(clusters.labels_, minlength=KINDS) / len(mine)
        chosen = odd_one(clusters.cluster_centers_, share_K)
        for name, source in splits.items():
            of_class = source.labels == label
            result[name][of_class] = clusters.predict(features[name][of_class]) == chosen
    return result


def odd_one(centres_KD: NDArray[np.float64], share_K: NDArray[np.float64]) -> int:
    """The cluster farthest from the mean of the others, of those that are large enough."""
    total_D = centres_KD.sum(axis=0)
    others_KD = (total_D - centres_KD) / (len(centres_KD) - 1)
    distance_K = np.linalg.norm(centres_KD - others_KD, axis=1)
    return int(np.where(share_K >= LEAST_SHARE, distance_K, -np.inf).argmax())


def severity_of(key: str) -> int:
    """The severity at which a picture is shifted, the same for every change."""
    digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
    return SEVERITIES[int.from_bytes(digest, "big") % len(SEVERITIES)]


def _changed(source: SubsetSource, name: str) -> NDArray[np.uint8]:
    """The pictures of a source under a change, from disk where they were made before."""
    named = hashlib.sha256(json.dumps([name, *source.keys]).encode()).hexdigest()[:16]
    path = CACHE / f"{name}-{named}.npy"
    if not path.exists():
        change = corrupt_image if name in CORRUPTIONS else shift_image
        changed = [
            np.asarray(change(source.image(index), name, severity_of(key), key))
            for index, key in enumerate(source.keys)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".writing.npy")
        np.save(temporary, np.stack(changed))
        temporary.replace(path)
    pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return pixels


@torch.no_grad()
def features_of(
    model: ClipModel, images: Images, head_CD: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Unit-length features (N, D) and, with a head, logits (N, C), else none (N, 0)."""
    model.module.eval()
    mean, std = model.preprocess_cfg["mean"], model.preprocess_cfg["std"]
    mean_311, std_311 = (torch.tensor(values)[:, None, None] for values in (mean, std))
    features = []
    for start in range(0, len(images), BATCH):
        pixels = torch.from_numpy(np.array(images.pixels_NHW3[start : start + BATCH]))
        images_nCHW = pixels.permute(0, 3, 1, 2).float() / 255
        features.append(model.encode_images((images_nCHW - mean_311) / std_311))
    features_ND = torch.cat(features)
    head = torch.zeros(0, features_ND.shape[1]) if head_CD is None else head_CD
    return features_ND, features_ND @ head.t()


def description(found: Suite) -> dict[str, Any]:
    """What the results say of the suite."""
    return {
        "training_images": len(found.training),
        "images": {name: len(images) for name, images in found.sets.items()},
        "severities": list(SEVERITIES),
        "kinds": KINDS,
        "size": SIZE,
    }
