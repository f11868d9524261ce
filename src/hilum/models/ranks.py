"""Ranks: processes that train one network together, each on its part of every batch.

A loss is a sum over the batch divided by a count over the batch (images, pixels, positives). Where
both are summed over the ranks, the ranks' gradients average to those of one process with the whole
batch, however the positives lie. Batch norm is the exception: it sees its rank's part.

Without a process group there is one rank, and everything here leaves things as they are. Knows
torch.distributed; not who started the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hilum.models.model import Batch, Model

Thing = TypeVar("Thing")


def world() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if joined() else 1


def joined() -> bool:
    """Whether somebody joined this process to others, be they none."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Which of them this process is, from 0."""
    return dist.get_rank() if world() > 1 else 0


def first() -> bool:
    """Whether this process is the one that evaluates, draws and writes."""
    return rank() == 0


def own_part(numbers: range) -> range:
    """This rank's numbers of a batch's; all ranks' together are the batch."""
    return numbers[rank() :: world()]


def from_first(make: Callable[[], Thing]) -> Thing:
    """What the first rank makes, on every rank; the others wait for it."""
    if world() == 1:
        return make()
    box: list[Any] = [make() if first() else None]
    dist.broadcast_object_list(box)
    made: Thing = box[0]
    return made


def total(value: float) -> float:
    """The sum of every rank's value."""
    if world() == 1:
        return value
    values = [value] * world()
    dist.all_gather_object(values, value)
    return sum(values)


# --- losses ---


@dataclass(slots=True)
class _State:
    together: bool = False  # whether a batch is all ranks', and not this one's own


_state = _State()


@contextmanager
def together() -> Iterator[None]:
    """Inside, a batch is a part: losses are those of all parts. Every rank must come here."""
    _state.together = world() > 1
    try:
        yield
    finally:
        _state.together = False


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        whole = part.detach().clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        # All ranks go on with the same number in the same way. The mean of their gradients
        # divides by their number, which the sum did not.
        return grad * world()


def summed(part: Tensor) -> Tensor:
    """The sum over the ranks, together; by itself the same."""
    if not _state.together:
        return part
    whole: Tensor = _Summed.apply(part)
    return whole


def mean(total: Tensor, count: Tensor | int) -> Tensor:
    """`total` / `count`, each summed over the ranks; 0 where nothing was counted."""
    counted = torch.as_tensor(count, device=total.device)
    if _state.together:
        n = total.numel()
        both = summed(torch.cat([total.reshape(-1), counted.reshape(-1).to(total)]))
        total, counted = both[:n].reshape(total.shape), both[n:].reshape(counted.shape)
    return total / torch.where(counted > 0, counted, torch.ones_like(counted))


def pooled(value: Tensor, count: int) -> Tensor:
    """A loss that somebody else's code divided by max(`count`, 1), divided by the ranks' count."""
    return mean(value * max(count, 1), count) if _state.together else value


# --- gradients ---


class _Common(nn.Module):
    """The losses of the ranks' common batch."""

    def __init__(self, net: Model):
        super().__init__()
        self.net = net

    def forward(self, part: Batch) -> dict[str, Tensor]:
        with together():
            return self.net.loss(part)


def losses_of(net: Model) -> Callable[[Batch, bool], dict[str, Tensor]]:
    """(batch, whether it is the last before a step) -> losses, whose gradients the ranks share.

    Weights and buffers are the first rank's: its batch norms' running statistics are kept.
    """
    if world() == 1:
        return lambda batch, _: net.loss(batch)
    # A part without a box leaves weights without a gradient.
    shared = DistributedDataParallel(_Common(net), find_unused_parameters=True)

    def losses(batch: Batch, last: bool) -> dict[str, Tensor]:
        shared.require_backward_grad_sync = last  # as its no_sync() does
        parts: dict[str, Tensor] = shared(batch)
        return parts

    return losses
