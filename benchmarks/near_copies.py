"""Near copies across splits: how many are found, how many are made up, at what time and memory.

    python benchmarks/near_copies.py [--images 100000] [--json PATH]

Images like photographs at low resolution (noise of a spectrum 1/f), JPEGs of 64 x 64 pixels, 60 %
in train and 40 % in test; to these come altered copies of 1 % of the training images: re-encoded,
resized, cropped, mirrored, brighter, darker, blurred, noisy or grey. All are inspected as an upload
is. Then the same with the bundled handwriting, where unrelated images are far more alike. Prints
the recall, the share of other test images that are listed, seconds, and how much memory was needed
on top.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks.provenance import RESULTS, write_results
from carot.data.digits import handwritten_digits
from carot.data.inspection import Inspection

SIDE = 64
PLANTED = 0.01
FEWEST = 20
TRAIN = 0.6
SEED = 0
Picture = Callable[[int], Image.Image]


def _encoded(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _cropped(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    box = (width * share, height * share, width * (1 - share), height * (1 - share))
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def _noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(SEED).normal(0, 8, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


ALTERATIONS: Mapping[str, Callable[[Image.Image], bytes]] = {
    "jpeg 75": lambda image: _encoded(image, 75),
    "jpeg 40": lambda image: _encoded(image, 40),
    "half size": lambda image: _encoded(image.resize((image.width // 2, image.height // 2))),
    "crop 5 %": lambda image: _encoded(_cropped(image, 0.025)),
    "crop 10 %": lambda image: _encoded(_cropped(image, 0.05)),
    "mirrored": lambda image: _encoded(ImageOps.mirror(image)),
    "brighter": lambda image: _encoded(ImageEnhance.Brightness(image).enhance(1.2)),
    "darker": lambda image: _encoded(ImageEnhance.Brightness(image).enhance(0.8)),
    "blurred": lambda image: _encoded(image.filter(ImageFilter.GaussianBlur(1))),
    "noisy": lambda image: _encoded(_noisy(image)),
    "grey": lambda image: _encoded(image.convert("L").convert("RGB"), 80),
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--json", type=Path, default=RESULTS / "near_copies.json")
    options = parser.parse_args()
    digits = handwritten_digits("train")
    rows = [
        measured("noise of 1/f", photograph, options.images),
        measured("handwriting", digits.image, min(options.images, len(digits))),
    ]
    show(rows)
    write_results(options.json, {"planted": PLANTED, "sets": rows})


def measured(name: str, picture: Picture, images: int) -> dict[str, Any]:
    """One set: recall of what was planted, the share of others listed, seconds and MiB."""
    before = _peak_mib()
    started = time.perf_counter()
    inspection, planted, splits = Inspection(), dict[str, str](), dict[str, str]()
    for content, split, key, alteration in written(picture, images):
        inspection.take(content, split, key)
        splits[key] = split
        if alteration:
            planted[key] = alteration
    gathered = time.perf_counter()
    found = {copy.key: copy for copy in inspection.near_copies(splits)}
    hits = [k for k in planted if k in found and found[k].other_key == k.partition(" ")[0]]
    others = images - int(TRAIN * images)
    missed = Counter(planted[key] for key in planted if key not in set(hits))
    return {
        "set": name,
        "images": images + len(planted),
        "planted": len(planted),
        "recall": len(hits) / len(planted),
        "false": (len(found) - sum(key in found for key in planted)) / others,
        "missed": dict(missed),
        "seconds": {
            "gathering": round(gathered - started, 1),
            "comparing": round(time.perf_counter() - gathered, 1),
        },
        "mib": round(_peak_mib() - before),
    }


def written(picture: Picture, images: int) -> Iterator[tuple[bytes, str, str, str]]:
    """Content, split, key and alteration, split by split."""
    rng = np.random.default_rng(SEED)
    train = int(TRAIN * images)
    for index in range(images):
        yield _encoded(picture(index)), "train" if index < train else "test", str(index), ""
    names = list(ALTERATIONS)
    for index in rng.choice(train, max(FEWEST, int(PLANTED * images)), replace=False).tolist():
        name = names[int(rng.integers(len(names)))]
        yield ALTERATIONS[name](picture(index)), "test", f"{index} {name}", name


def photograph(index: int) -> Image.Image:
    """Noise whose spectrum falls off as that of photographs, in three related channels."""
    rng = np.random.default_rng((SEED, index))
    own = _fallen(rng.standard_normal((SIDE, SIDE)))
    tint = _fallen(rng.standard_normal((SIDE, SIDE)))
    pixels = 128 + 50 * np.stack([own, own + 0.4 * tint, own - 0.4 * tint], axis=2)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _fallen(noise: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.fft.irfft2(np.fft.rfft2(noise) * _FALL, s=noise.shape)
    scaled: NDArray[np.float64] = found / found.std()
    return scaled


def _fall() -> NDArray[np.float64]:
    vertical, horizontal = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :]
    radius = np.sqrt(vertical**2 + horizontal**2)
    radius[0, 0] = np.inf
    fall: NDArray[np.float64] = 1 / radius
    return fall


_FALL = _fall()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    print(
        f"{'set':14}{'images':>9}{'planted':>9}{'recall':>9}{'false':>9}{'seconds':>16}{'MiB':>7}"
    )
    for row in rows:
        times = " + ".join(f"{each:.0f}" for each in row["seconds"].values())
        shares = f"{row['recall']:9.1%}{row['false']:9.3%}"
        counts = f"{row['images']:9,}{row['planted']:9,}"
        print(f"{row['set']:14}{counts}{shares}{times:>16}{row['mib']:7,}")


if __name__ == "__main__":
    main()
