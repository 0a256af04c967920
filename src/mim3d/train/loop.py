"""The one loop of the project: pre-training, segmentation and classification all run through it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from mim3d.errors import MimError
from mim3d.train.apart import compute_group, gather_gradients
from mim3d.train.chunk import Chunk, Group, Logged

Batch = TypeVar("Batch")


class TrainingError(MimError):
    """Training cannot go on."""


@dataclass(slots=True, eq=False)
class State:
    """All that a step changes."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    """Optimiser steps done."""
    apart: tuple[nn.Module, ...] = ()
    """The model once more for each further thread: its weights, and gradients of their own."""

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """The model for every thread."""
        return (self.model, *self.apart)


class Engine(Protocol):
    """What the loop asks of the distributed engine; Lightning Fabric answers."""

    def no_backward_sync(self, module: nn.Module, enabled: bool) -> AbstractContextManager[None]:
        """Do not synchronise gradients inside, if enabled."""

    def backward(self, tensor: Tensor) -> None:
        """Add the gradients of `tensor`."""

    def all_reduce(self, data: Logged) -> Logged:
        """The mean over all devices."""


def train(
    state: State,
    batches: Iterable[Batch],
    objective: Callable[[nn.Module, Batch], Iterator[Group]],
    engine: Engine,
    *,
    begin_step: Callable[[State], dict[str, float]],
    max_norm: float,
    on_step: Callable[[State, dict[str, float]], None],
) -> None:
    """One optimiser step a batch, calling `on_step` (log, save, evaluate) after each.

    Args:
        state: What is trained.
        batches: One a step.
        objective: See `Chunk`.
        engine: Of distributed training.
        begin_step: Called before each step: sets learning rates and seeds, and returns what is logged of it.
        max_norm: Gradients are clipped to this norm.
        on_step: Called after each step with all that is logged.

    Raises:
        TrainingError: If a loss or gradient is not finite; the weights are those before that step.
    """
    for model in state.models:
        model.train()
    for batch in batches:
        rates = begin_step(state)
        logged: Logged = {}
        for group in objective(state.model, batch):  # memory follows the largest chunk of each thread
            for values in compute_group(state.models, group, partial(_compute, engine)):
                for name, value in values.items():
                    logged[name] = logged.get(name, 0) + value
        gather_gradients(state.models)
        norm = nn.utils.clip_grad_norm_(state.model.parameters(), max_norm)
        logged = engine.all_reduce(logged)
        refuse_non_finite({**logged, "gradient norm": norm}, state.step, batch)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        on_step(state, {name: float(value) for name, value in logged.items()} | rates)


def _compute(engine: Engine, model: nn.Module, chunk: Chunk) -> Logged:
    """A chunk forward and backward."""
    with engine.no_backward_sync(model, enabled=not chunk.last):
        loss, values = chunk.compute(model)
        engine.backward(loss)
    return {name: value.detach() for name, value in {"loss": loss, **values}.items()}


def refuse_non_finite(logged: Logged, step: int, batch: object) -> None:
    """Stop before a step that would spoil the weights, naming the term and the cases of the batch."""
    wrong = [name for name, value in logged.items() if not bool(torch.isfinite(value))]
    if wrong:
        cases = ", ".join(getattr(batch, "cases", ())) or "unknown"
        raise TrainingError(
            f"step {step}: {', '.join(wrong)} not finite (cases: {cases}); the last checkpoint is good: "
            "lower the learning rate, or leave those cases out"
        )
