"""The processes of one training run: who this one is, and what they say to each other.

Each process (a rank) encodes its share of a batch. Features are gathered, so that every rank
computes the loss of the whole batch, and from it the same gradient of the features. A rank takes
its own share of that gradient times the number of ranks; the mean over ranks, taken of every
parameter's gradient, is then the gradient of the whole batch, for parameters that see a share
(towers) as for those that see everything (head, logit scale, captions). Nothing is communicated
on the way back but that mean.

Shape suffixes: N samples of a share, B samples of the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from carot.errors import RankLost, SpecError

STORE = "CAROT_RANKS_STORE"
"""A file over which ranks of one machine find each other, in place of an open port."""
TIMEOUT = timedelta(hours=24)
"""Others wait while the first rank evaluates a candidate."""
BUCKET_ELEMENTS = 1 << 24
"""Gradients that are averaged in one go, so that their copy stays small."""
LARGEST_SEED = 2**62


@dataclass(frozen=True)
class Share:
    """Which samples of a whole are this rank's: ranks have consecutive stretches.

    Attributes:
        counts: the number of samples of each rank.
        rank: whose share this is.
    """

    counts: tuple[int, ...]
    rank: int = 0

    @property
    def total(self) -> int:
        """Samples of all ranks."""
        return sum(self.counts)

    @property
    def span(self) -> slice:
        """This rank's samples among those of all."""
        stop = list(accumulate(self.counts))[self.rank]
        return slice(stop - self.counts[self.rank], stop)


def even_share(total: int, rank: int, count: int) -> Share:
    """`total` samples among `count` ranks; where they do not divide, the first have one more."""
    each, more = divmod(total, count)
    return Share(tuple(each + (index < more) for index in range(count)), rank)


class Ranks:
    """The processes of a run, as one of them sees them. Alone, all of it costs nothing.

    As a context manager it joins the others, and leaves them.

    Args:
        rank: which of them this one is; the first, 0, is the one that writes and reports.
        count: how many there are.
        local: the number of this process on its machine, and of its GPU.
        store: see `STORE`; by default torchrun's address and port are used.
    """

    def __init__(
        self, rank: int = 0, count: int = 1, *, local: int | None = None, store: Path | None = None
    ) -> None:
        self.rank = rank
        self.count = count
        self._local = rank if local is None else local
        self._store = store

    @classmethod
    def of_environment(cls) -> Ranks:
        """As torchrun has set it; alone where nothing is set."""
        store = os.environ.get(STORE)
        return cls(
            int(os.environ.get("RANK", "0")),
            int(os.environ.get("WORLD_SIZE", "1")),
            local=int(os.environ.get("LOCAL_RANK", "0")),
            store=Path(store) if store else None,
        )

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes, reports and evaluates."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.count == 1

    @property
    def device(self) -> torch.device:
        """This rank's GPU, or the CPU where there is none."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda") if self.alone else torch.device("cuda", self._local)

    def __enter__(self) -> Ranks:
        """Join the others.

        Raises:
            SpecError: there are fewer GPUs than processes.
            RankLost: one of the others is gone.
        """
        if self.alone:
            return self
        on_gpu = torch.cuda.is_available()
        if on_gpu and self._local >= torch.cuda.device_count():
            raise SpecError(
                f"{self.count} processes were asked for, each with a GPU of its own, and this "
                f"machine has {torch.cuda.device_count()}",
                field="processes",
            )
        if on_gpu:
            torch.cuda.set_device(self.device)
        # What is said in numbers goes over the CPU in any case: a rank that waits there notices
        # when another is gone.
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        where: dict[str, Any] = {}
        if self._store is not None:
            where["store"] = dist.FileStore(str(self._store), self.count)  # type: ignore[attr-defined]
        with _telling_of_loss():
            dist.init_process_group(
                backend, rank=self.rank, world_size=self.count, timeout=TIMEOUT, **where
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Behind an error the others may be anywhere: the end of this process tells them.
        if not self.alone and error is None:
            dist.destroy_process_group()

    def wait(self) -> None:
        """Wait until every rank is here."""
        self.any(False)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank: the same answer on all of them."""
        if self.alone:
            return flag
        flags = torch.tensor([int(flag)])
        with _telling_of_loss():
            dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags.item())

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The first rank runs the block, then all others do."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def share(self, mine: int) -> Share:
        """The share that `mine` samples of this rank are of those of all ranks."""
        if self.alone:
            return Share((mine,))
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        with _telling_of_loss():
            dist.all_gather(counts, torch.tensor([mine]))
        return Share(tuple(int(count) for count in counts), self.rank)

    def gather(self, mine_N: Tensor, share: Share) -> Tensor:
        """All ranks' samples in the order of ranks, with gradient: (N, ...) to (B, ...).

        The gradient is right once it was averaged over ranks (see the head of this file).

        Args:
            share: `self.share(len(mine_N))`.
        """
        if self.alone:
            return mine_N
        gathered_B: Tensor = _Gather.apply(mine_N, share)
        return gathered_B

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over ranks, which is the same on all of them.

        A parameter without a gradient has none on any rank, and is left alone.
        """
        if self.alone:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            with _telling_of_loss():
                dist.all_reduce(flat)
            flat /= self.count
            parts = flat.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def align(self, modules: Iterable[nn.Module]) -> None:
        """Give every rank the tensors that the first one has, to the last bit."""
        if self.alone:
            return
        for module in modules:
            for tensor in module.state_dict().values():
                whole = tensor.contiguous()
                with _telling_of_loss():
                    dist.broadcast(whole, 0)
                tensor.copy_(whole)

    @contextmanager
    def own_randomness(self, device: torch.device) -> Iterator[None]:
        """Within, this rank draws numbers of its own; outside, all ranks draw the same.

        For layers that drop at random: two images at the same place of two shares must not lose
        the same parts. Where they act, a run on several ranks is as random as a run on one, and
        not the same.
        """
        if self.alone:
            yield
            return
        seed = int(torch.randint(LARGEST_SEED, ()))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed + self.rank)
            yield


ALONE = Ranks()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine_N: Tensor, share: Share) -> Tensor:
        ctx.share = share
        # Collectives want equal sizes; shares may differ.
        padded = mine_N.new_zeros((max(share.counts), *mine_N.shape[1:]))
        padded[: len(mine_N)] = mine_N
        parts = [torch.empty_like(padded) for _ in share.counts]
        with _telling_of_loss():
            dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, share.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        share: Share = ctx.share
        return gradients[0][share.span] * len(share.counts), None


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in their order, in groups of one type and of limited size."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        is_other = bool(bucket) and bucket[0].dtype != tensor.dtype
        if bucket and (is_other or size + tensor.numel() > BUCKET_ELEMENTS):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket


@contextmanager
def _telling_of_loss() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RankLost(f"another process of this run has ended: {error}") from error
