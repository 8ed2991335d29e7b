"""One training in several processes: each sees its own share of every batch, and all decide and step as one process would.

Logits are gathered, so that every process computes the loss of the *whole* batch, whatever a method makes of it, and sends the
gradient back into its own rows; the gradients by the weights are then summed. With one process every function here returns what
it was given. Processes must call them in the same order.
Shape suffixes in this file: B rows of all processes, R those of one: the same number in each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

APART = 1_000_003  # between the seeds of two processes: ours, a prime


def processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def gathered(rows: Tensor) -> Tensor:
    """[R, …] of each process to [B, …], in the order of the processes; without a graph."""
    if processes() == 1:
        return rows
    return torch.cat(_of_each(rows))


def joined(rows: Tensor) -> Tensor:
    """The same with this process's rows in their graph."""
    if processes() == 1:
        return rows
    parts = _of_each(rows)
    parts[rank()] = rows
    return torch.cat(parts)


def averaged(value: Tensor) -> Tensor:
    """The mean of what the processes have; its gradient reaches the own one, by its share."""
    if processes() == 1:
        return value
    total = summed(value) / processes()
    return total + (value - value.detach()) / processes() if value.requires_grad else total


def summed(value: Tensor) -> Tensor:
    """The sum of what the processes have; without a graph."""
    if processes() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def agreed(*numbers: int) -> tuple[int, ...]:
    """The largest that any process has, one by one. The host waits for the other hosts, and for no device."""
    if processes() == 1:
        return numbers
    largest = torch.tensor(numbers)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return tuple(largest.tolist())


def of_first(content: bytes | None) -> bytes | None:
    """What the first process has."""
    if processes() == 1:
        return content
    length = torch.tensor(-1 if content is None else len(content))
    dist.broadcast(length, 0)
    if length < 0:
        return None
    buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(buffer, 0)
    return buffer.numpy().tobytes()


def replicated(network: nn.Module) -> nn.Module:
    """What to call in place of ``network``, so that a backward pass ends with the gradients of all processes, summed.

    Its weights and buffers become the first process's."""
    if processes() == 1:
        return network
    wrapped = DistributedDataParallel(network, gradient_as_bucket_view=True)
    wrapped.broadcast_buffers = False  # they stay equal by themselves; as an argument, torch 2.15 warns of it and 2.10 needs it
    wrapped.register_comm_hook(None, lambda _, bucket: _summed_bucket(bucket))  # torch refuses annotations that are text
    return wrapped


def sum_gradients(network: nn.Module | None) -> None:
    """The same after a backward pass, for a network that is not ``replicated``."""
    if processes() == 1 or network is None:
        return
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    if gradients:
        totals = summed(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        for gradient, total in zip(gradients, torch.split(totals, [one.numel() for one in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))


@contextmanager
def own_draws(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Dropout inside: each process drops others, and what draws afterwards still draws the same in all of them."""
    if processes() == 1:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed + APART * (1 + rank() + processes() * step))
        yield


def _of_each(rows: Tensor) -> list[Tensor]:
    rows = rows.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(processes())]
    dist.all_gather(parts, rows)
    return parts


def _summed_bucket(bucket: Any) -> torch.futures.Future[Tensor]:
    """DistributedDataParallel would divide by the number of processes, which is right for losses of their own rows alone."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])
