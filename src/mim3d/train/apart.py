"""Chunks side by side: on a CPU each thread takes its own, with gradients of its own.

Which thread takes which chunk follows from their order, and gradients are added in the order of the threads,
so that as many threads give the same sums again.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from threading import Event
from typing import TypeVar

import torch
from torch import nn

from mim3d.threads import run_apart
from mim3d.train.chunk import Chunk

Result = TypeVar("Result")


def sharing(model: nn.Module) -> nn.Module:
    """A model that has its weights and buffers in the same memory, and gradients of its own.

    For models whose forward pass writes to no buffer, as threads would race for it. The copy is not compiled,
    and stays the same as long as weights are changed in place, as optimisers and checkpoints do.
    """
    shared: dict[int, torch.Tensor] = {id(buffer): buffer for buffer in model.buffers()}
    for weight in model.parameters():
        shared[id(weight)] = nn.Parameter(weight.detach(), requires_grad=weight.requires_grad)
    return deepcopy(model, shared)


def compute_group(
    models: Sequence[nn.Module], group: Sequence[Chunk], compute: Callable[[nn.Module, Chunk], Result]
) -> list[Result]:
    """What `compute` gives of chunks that do not depend on each other, in their order.

    Args:
        models: One for each thread, which share their weights. Fewer chunks than threads are computed by the
            first, one after another, by all threads together.
        group: Chunks.
        compute: Takes a model and a chunk forward and backward.
    """
    count = len(models)
    if count == 1 or len(group) < count:
        return [compute(models[0], chunk) for chunk in group]
    over = Event()

    def some(model: nn.Module, chunks: Sequence[Chunk]) -> list[Result]:
        try:
            return [compute(model, chunk) for chunk in chunks if not over.is_set()]
        except BaseException:
            over.set()
            raise

    try:
        found = run_apart([partial(some, model, group[n::count]) for n, model in enumerate(models)])
    except BaseException:  # one's error, or an interrupt: the others end after the chunk at hand
        over.set()
        raise
    return [found[n % count][n // count] for n in range(len(group))]


def gather_gradients(models: Sequence[nn.Module]) -> None:
    """Add the gradients of all models to those of the first, where alone they are left."""
    for first, *others in zip(*(model.parameters() for model in models), strict=True):
        for other in others:
            if first.grad is None:
                first.grad = other.grad
            elif other.grad is not None:
                first.grad += other.grad
            other.grad = None
