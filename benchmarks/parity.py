"""Does this project compute what CaRot's released code computes? Loss, gradients, teacher.

    python benchmarks/parity.py [--quick] [--json FILE]

The method `carot`, set as released, is compared with `benchmarks/released.py`, the released
formulas written out apart from it, on random unit-length features: batches of 8 to 512, three sets
of widths (the last is that of ViT-B/16), two logit scales (CLIP's first, CLIP's largest), seeds.
Prints the largest relative difference of each term and its gradient, each weighted as in the loss:

- value: |a − b| / |b|;
- gradient: ‖a − b‖ / ‖b‖, Euclidean, of one vector that holds the derivatives by all inputs (image
  features, caption features, log scale, both projections);
- worst input: the same for each input by itself, the largest of them. An input's gradient may
  nearly cancel; then this says more about rounding than about the formulas.

All in float32 and again in float64. `rounding` is how far the released formulas in float32 are from
themselves in float64 on the same input: what float32 leaves undecided. The divergence that the
project minimises is less than the released cross-entropy by the teacher's entropy, a constant; it
is added before values are compared, and printed.

The same once more for features whose pairs are recognised with certainty: there losses of 1e-9 nats
are differences of logits of 100, and float32 has nothing to compare, so absolute differences are
given. Last, the teacher's momentum, and what it leaves of the starting weights.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import parity_teacher, released
from benchmarks.provenance import write_results
from carot.models.clip import ClipModel, from_config
from carot.specs import CarotMethod
from carot.training.distillation import distillation_loss
from carot.training.methods import Carot, Features

TOLERANCE = 1e-6
BATCHES = (8, 16, 32, 64, 128, 256, 512)
# Embedding width, widths in front of the visual and the text projection.
WIDTHS = ((128, 192, 128), (256, 384, 256), (512, 768, 512))
LOG_SCALES = (math.log(1 / 0.07), math.log(100.0))
TEACHER = 0.2  # how far a teacher's features are from the student's, which have length 1
TERMS = ("contrastive", "cross_norm", "orthogonality", "distillation", "total")
RELEASED = CarotMethod(
    positives="pair",
    orthogonality_weight=0.2,
    orthogonality_form="unsquared",
    cross_norm_weight=0.05,
    cross_norm_form="unsquared",
    distillation_weight=1.5,
)


@dataclass(frozen=True)
class Case:
    """Features of one batch, and what produced them; `teacher` is a student moved a little."""

    batch: int
    log_scale: float
    images_BD: Tensor
    captions_BD: Tensor
    teacher_images_BD: Tensor
    teacher_captions_BD: Tensor


@dataclass(frozen=True)
class Terms:
    """Weighted terms and the gradients of each by its inputs."""

    values: dict[str, Tensor]
    gradients: dict[str, list[Tensor]]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, the smallest widths")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("build/parity.json"))
    options = parser.parse_args(arguments)
    widths = WIDTHS[:1] if options.quick else WIDTHS
    seeds = 1 if options.quick else options.seeds
    rows, entropies = compare(widths, seeds, match=0.0)
    matched, _ = compare(widths, seeds, match=0.5)
    certain = {
        term: {key: value for key, value in maximum(list(r.values())).items() if "nats" in key}
        for term, r in matched.items()
    }
    worst = {term: maximum(list(by_batch.values())) for term, by_batch in rows.items()}
    schedule = parity_teacher.compare()
    within = all(row["value"] <= TOLERANCE and row["gradient"] <= TOLERANCE
                 for row in worst.values())  # fmt: skip
    show(rows, worst, entropies)
    show_certain(certain)
    gap = wide_gap()
    print(f"\na gap of 110 between logits, in float32: here {gap['ours']:.1e} nats, released code "
          f"{'finite' if gap['released_is_finite'] else 'not a number'}")  # fmt: skip
    parity_teacher.show(schedule)
    write_results(
        options.json,
        {
            "measure": "value: |a - b| / |b|; gradient: the same in the Euclidean norm, over the "
            "vector of derivatives by all inputs; worst_input: over each input by itself",
            "tolerance": TOLERANCE,
            "within": within,
            "seeds": seeds,
            "widths": widths,
            "log_scales": LOG_SCALES,
            "worst": worst,
            "by_batch": {term: {str(b): row for b, row in r.items()} for term, r in rows.items()},
            "recognised_with_certainty": certain,
            "teacher_entropy_by_batch": {str(b): span for b, span in entropies.items()},
            "gap_of_110": gap,
            "schedule": schedule,
        },
    )


def compare(
    widths: Sequence[tuple[int, int, int]], seeds: int, match: float
) -> tuple[dict[str, dict[int, dict[str, float]]], dict[int, list[float]]]:
    """Largest differences by term and batch; least and largest teacher entropy by batch."""
    found: dict[str, dict[int, list[dict[str, float]]]] = {t: defaultdict(list) for t in TERMS}
    entropies: dict[int, list[float]] = defaultdict(list)
    for width in widths:
        model = random_model(*width)
        for case in cases(width[0], seeds, match):
            ours, theirs, entropy = both(model, case, torch.float32)
            ours64, theirs64, _ = both(model, case, torch.float64)
            entropies[case.batch].append(entropy)
            exact, rounding = differences(ours64, theirs64), differences(theirs, theirs64)
            for term, row in differences(ours, theirs).items():
                row |= {f"{key}_float64": value for key, value in exact[term].items()}
                row |= {f"{key}_rounding": value for key, value in rounding[term].items()}
                found[term][case.batch].append(row)
    rows = {term: {b: maximum(r) for b, r in by_batch.items()} for term, by_batch in found.items()}
    return rows, {batch: [min(each), max(each)] for batch, each in entropies.items()}


def random_model(embedding: int, visual: int, text: int) -> ClipModel:
    """A small CLIP with random weights and projections of the given widths."""
    torch.manual_seed(0)
    vision = {"image_size": 32, "patch_size": 16, "width": visual, "layers": 1, "head_width": 64}
    tower = {"context_length": 8, "vocab_size": 512, "width": text, "heads": 2, "layers": 1}
    return from_config({"embed_dim": embedding, "vision_cfg": vision, "text_cfg": tower})


def cases(width: int, seeds: int, match: float) -> Iterator[Case]:
    """Random pairs in float32; `match` is how much of its image a caption holds."""
    for batch, log_scale, seed in itertools.product(BATCHES, LOG_SCALES, range(seeds)):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(4, batch, width, generator=generator) / math.sqrt(width)
        images_BD = F.normalize(noise[0], dim=1)
        captions_BD = F.normalize(match * images_BD + noise[1], dim=1)
        yield Case(
            batch,
            log_scale,
            images_BD,
            captions_BD,
            teacher_images_BD=F.normalize(images_BD + TEACHER * noise[2], dim=1),
            teacher_captions_BD=F.normalize(captions_BD + TEACHER * noise[3], dim=1),
        )


def both(model: ClipModel, case: Case, dtype: torch.dtype) -> tuple[Terms, Terms, float]:
    """The project's terms, those of the released formulas, and the weighted teacher entropy."""
    model.module.to(dtype)
    with torch.no_grad():
        model.logit_scale.fill_(case.log_scale)
    method = Carot(RELEASED, model, parity_teacher.STEPS)
    assert method.teacher is not None
    teacher_scale = method.teacher.module.get_parameter("logit_scale")
    teacher_scale.mul_(0.99)
    images_BD = case.images_BD.to(dtype, copy=True).requires_grad_()
    captions_BD = case.captions_BD.to(dtype, copy=True).requires_grad_()
    inputs = [images_BD, captions_BD, model.logit_scale, model.visual_projection(),
              model.text_projection()]  # fmt: skip
    labels_B = torch.arange(case.batch)
    taught_images_BD = case.teacher_images_BD.to(dtype)
    taught_captions_BD = case.teacher_captions_BD.to(dtype)
    loss = method.loss(
        Features(images_BD, captions_BD, labels_B),
        Features(taught_images_BD, taught_captions_BD, labels_B),
    )
    taught_BB = teacher_scale.exp() * taught_images_BD @ taught_captions_BD.T
    entropy = released.teacher_entropy(taught_BB)
    weights = {"contrastive": 1.0, "cross_norm": 0.05, "orthogonality": 0.2, "distillation": 1.5}
    ours = {name: weights[name] * term for name, term in loss.terms.items()}
    ours["distillation"] = ours["distillation"] + entropy
    ours["total"] = loss.total + entropy

    seen_BB = torch.exp(model.logit_scale) * images_BD @ captions_BD.T
    theirs = {
        "contrastive": released.contrastive(images_BD, captions_BD, model.logit_scale),
        "cross_norm": released.cross_norm(inputs[3], inputs[4]),
        "orthogonality": released.orthogonality(inputs[3]),
        "distillation": released.distillation(seen_BB, taught_BB),
    }
    theirs["total"] = torch.stack(list(theirs.values())).sum()
    return differentiated(ours, inputs), differentiated(theirs, inputs), float(entropy)


def differentiated(values: dict[str, Tensor], inputs: list[Tensor]) -> Terms:
    """Each term with its gradient by every input that it depends on."""
    gradients = {}
    for name, value in values.items():
        parts: tuple[Tensor | None, ...] = torch.autograd.grad(
            value, inputs, retain_graph=True, allow_unused=True
        )
        gradients[name] = [part for part in parts if part is not None]
    return Terms({name: value.detach() for name, value in values.items()}, gradients)


def differences(ours: Terms, theirs: Terms) -> dict[str, dict[str, float]]:
    """By term: difference of the value, relative and absolute, and those of the gradient."""
    found = {}
    for term in TERMS:
        a, b = ours.gradients[term], theirs.gradients[term]
        found[term] = {
            "value": relative(ours.values[term], theirs.values[term]),
            "gradient": relative(joined(a), joined(b)),
            "worst_input": max(relative(one, other) for one, other in zip(a, b, strict=True)),
            "nats": float((ours.values[term].double() - theirs.values[term].double()).abs()),
        }
    return found


def joined(gradients: list[Tensor]) -> Tensor:
    """All derivatives as one vector."""
    return torch.cat([gradient.flatten() for gradient in gradients])


def relative(a: Tensor, b: Tensor) -> float:
    """‖a − b‖ / ‖b‖; the difference is taken in float64."""
    return float((a.double() - b.double()).norm() / b.double().norm())


def maximum(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: max(row[key] for row in rows) for key in rows[0]}


def wide_gap() -> dict[str, Any]:
    """Where the two differ by design: a gap of 110 between logits, in float32."""
    student_BB = torch.tensor([[110.0, 0.0], [0.0, 110.0]])
    theirs = float(released.distillation(student_BB, student_BB))
    ours = float(distillation_loss(student_BB, student_BB))
    return {"released_is_finite": math.isfinite(theirs), "ours": ours}


def show(
    rows: dict[str, dict[int, dict[str, float]]],
    worst: dict[str, dict[str, float]],
    entropies: dict[int, list[float]],
) -> None:
    """Two tables: by term, and of the whole loss by batch."""
    keys = [key + kind for key in ("value", "gradient", "worst_input")
            for kind in ("", "_rounding", "_float64")]  # fmt: skip
    heads = [head for key in ("value", "gradient", "worst input")
             for head in (key, "rounding", "float64")]  # fmt: skip
    print("largest relative differences, over all batches")
    print(f"{'term':14}" + "".join(f"{head:>12}" for head in heads))
    for term, row in worst.items():
        verdict = "" if max(row["value"], row["gradient"]) <= TOLERANCE else "  above 1e-6"
        print(f"{term:14}" + "".join(f"{row[key]:12.1e}" for key in keys) + verdict)
    print("\nof the whole loss, by batch, and 1.5 times the teacher's entropy in nats")
    print(f"{'batch':14}" + "".join(f"{head:>12}" for head in heads) + f"{'entropy':>17}")
    for batch, row in rows["total"].items():
        low, high = entropies[batch]
        print(f"{batch:<14}" + "".join(f"{row[key]:12.1e}" for key in keys)
              + f"{f'{low:.2f} to {high:.2f}':>17}")  # fmt: skip


def show_certain(certain: dict[str, dict[str, float]]) -> None:
    print("\npairs recognised with certainty: largest absolute differences of values, in nats")
    print(f"{'term':14}{'float32':>12}{'rounding':>12}{'float64':>12}")
    for term, row in certain.items():
        print(f"{term:14}" + "".join(f"{row['nats' + kind]:12.1e}"
                                     for kind in ("", "_rounding", "_float64")))  # fmt: skip


if __name__ == "__main__":
    main()
