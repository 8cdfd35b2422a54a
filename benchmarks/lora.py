"""What LoRA saves: memory of training and bytes of a checkpoint, beside the full run's.

    python benchmarks/lora.py [--quick] [--steps N] [--batch N] [--rank N]

A ViT-B/32 with random weights (nothing is downloaded) takes a few steps of `flyp` and of `carot`
on drawn images, once wholly and once with adapters of the default rank, each in a process of its
own on the CPU. Counted are the bytes of gradients and of AdamW's state behind the last step, the
bytes of the copies that a teacher keeps of its own, and the process's largest resident memory less
what it had before the first step. Only ratios are told, and are
written to `benchmarks/results/lora.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from benchmarks.provenance import RESULTS, ROOT, write_results
from carot.models.adapter_file import ADAPTERS_NAME, Adapters, AdaptersCard
from carot.models.adapters import attach_adapters, merged
from carot.models.checkpoints import ClassifierCard, save_checkpoint
from carot.models.clip import ClipModel, from_config
from carot.specs import TOWERS, CarotMethod, FlypMethod, LoraSpec
from carot.training.methods import Features, Method
from carot.training.methods.carot import Carot
from carot.training.methods.flyp import Flyp
from carot.training.parameters import parameter_groups

VIT_B_32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12,
    },
}  # fmt: skip
CLASSES = 10
METHODS = ("flyp", "carot")
COUNTS = ("optimizer", "gradients", "teacher", "trained", "checkpoint_file", "peak", "step")


def method_of(name: str, model: ClipModel, steps: int) -> Method:
    """The method that a name says, with its default constants."""
    if name == "flyp":
        return Flyp(FlypMethod(), model, steps)
    return Carot(CarotMethod(), model, steps)


def bytes_of(tensors: Iterable[Tensor | None]) -> int:
    """Of tensors, each once."""
    found = {id(each): each.numel() * each.element_size() for each in tensors if each is not None}
    return sum(found.values())


def train(
    method: Method, images_NCHW: Tensor, tokens_UL: Tensor, steps: int
) -> tuple[torch.optim.AdamW, float]:
    """Some steps on the same batch, as the trainer takes them; the optimizer, seconds a step."""
    model = method.model
    optimizer = torch.optim.AdamW(parameter_groups(method, 0.1), lr=1e-5)
    labels_B = torch.arange(len(images_NCHW)) % CLASSES

    def features(of: ClipModel) -> Features:
        captions_UD = of.encode_captions(tokens_UL)
        return Features(of.encode_images(images_NCHW), captions_UD[labels_B], labels_B)

    def without_gradient(of: ClipModel) -> Features:
        with torch.no_grad():
            return features(of)

    times = []
    for step in range(steps):
        began = time.monotonic()
        method.before_step(step)
        teacher = method.teach(step, without_gradient)  # type: ignore[arg-type]
        loss = method.loss(features(model), teacher)
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        optimizer.step()
        method.after_step(step)
        times.append(time.monotonic() - began)
    return optimizer, statistics.median(times)


def count(name: str, rank: int | None, batch: int, steps: int) -> dict[str, float]:
    """What one run takes, in bytes, and the median second of its steps."""
    torch.manual_seed(0)
    model = from_config(VIT_B_32, architecture="ViT-B-32")
    if rank is not None:
        attach_adapters(model, LoraSpec(rank=rank), TOWERS)
    images_NCHW = torch.randn(batch, 3, 224, 224)
    tokens_UL = model.tokenize([f"a photo of the number {i}." for i in range(CLASSES)])
    method = method_of(name, model, steps)
    model.module.train()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the largest so far
    before = memory("VmRSS")
    optimizer, seconds = train(method, images_NCHW, tokens_UL, steps)
    peak = memory("VmHWM") - before
    trained = [parameter for _, parameter in method.parameters()]
    own = {id(parameter) for parameter in model.module.parameters()}
    copies = (p for key, each in method.modules().items() if key != "model"
              for p in each.parameters() if id(p) not in own)  # fmt: skip
    states = (value for state in optimizer.state.values() for value in state.values())
    return {
        "optimizer": bytes_of(states),
        "gradients": bytes_of(parameter.grad for parameter in model.module.parameters()),
        "teacher": bytes_of(copies),
        "trained": bytes_of(trained),
        "checkpoint_file": file_bytes(model, rank),
        "peak": peak,
        "step": seconds,
    }


def file_bytes(model: ClipModel, rank: int | None) -> int:
    """Of the adapter file, or of the whole checkpoint where there are no adapters."""
    card = ClassifierCard(
        architecture="ViT-B-32", method="flyp", classes=tuple(map(str, range(CLASSES))),
        caption_names=tuple(map(str, range(CLASSES))), templates=("{}",), logit_scale=1.0,
        head="text",
    )  # fmt: skip
    adapters = None
    if rank is not None:
        about = AdaptersCard(architecture="ViT-B-32", adapters=LoraSpec(rank=rank), trained=TOWERS)
        adapters = Adapters.of(model.module, about)
    plain = model.with_module(merged(model.module))
    with TemporaryDirectory() as folder:
        written = Path(folder) / "checkpoint"
        save_checkpoint(written, plain, torch.zeros(CLASSES, 512), card, None, adapters)
        if adapters is not None:
            return (written / ADAPTERS_NAME).stat().st_size
        return sum(path.stat().st_size for path in written.iterdir())


def memory(name: str) -> int:
    """Of this process in bytes, as Linux tells it: `VmRSS` now, `VmHWM` the most so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(each for each in status.splitlines() if each.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def in_its_own_process(
    name: str, rank: int | None, options: argparse.Namespace
) -> dict[str, float]:
    """`count` where nothing was before."""
    command = [
        sys.executable, "-m", "benchmarks.lora", "--one", name, "--batch", str(options.batch),
        "--steps", str(options.steps), "--rank", str(rank or 0),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """LoRA's share of what the full run takes, by method."""
    rows = []
    for name in METHODS:
        full = in_its_own_process(name, None, options)
        lora = in_its_own_process(name, options.rank, options)
        shares = {each: lora[each] / full[each] if full[each] else None for each in COUNTS}
        rows.append({"method": name, "lora_over_full": shares})
    return rows


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two steps; stores nothing")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=LoraSpec().rank)
    parser.add_argument("--one", choices=METHODS, help="one run, in this process; rank 0 is full")
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(count(options.one, options.rank or None, options.batch, options.steps)))
        return
    if options.quick:
        options.steps = 2
    rows = compare(options)
    print("LoRA / full".ljust(18) + "".join(row["method"].rjust(10) for row in rows))
    for each in COUNTS:
        shares = [row["lora_over_full"][each] for row in rows]
        cells = ["–" if share is None else f"{share:.4f}" for share in shares]
        print(each.ljust(18) + "".join(cell.rjust(10) for cell in cells))
    if not options.quick:
        asked = {"rank": options.rank, "batch": options.batch, "steps": options.steps}
        write_results(RESULTS / "lora.json", {**asked, "rows": rows})


if __name__ == "__main__":
    main()
