"""One training run: the engine, the loop, and what is written down after each step."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import torch
from lightning.fabric import Fabric
from torch import nn

from mim3d.config import Optimisation, Runtime
from mim3d.errors import ConfigError, Interruption
from mim3d.train.checkpoint import load_checkpoint, save_checkpoint
from mim3d.train.chunk import Chunk
from mim3d.train.interrupt import Stop, stop_on_signal
from mim3d.train.loop import State, train
from mim3d.train.optim import build_optimizer, lr_at
from mim3d.train.progress import StepProgress, step_progress
from mim3d.train.run_folder import MetricsFile


class Movable(Protocol):
    """What a batch must be able to do."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""


Batch = TypeVar("Batch", bound=Movable)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Job(Generic[Batch]):
    """What is to be trained, and how."""

    run: Path
    model: nn.Module
    optimisation: Optimisation
    runtime: Runtime
    objective: Callable[[nn.Module, Batch], Iterator[Chunk]]
    batches: Callable[[int, int, int], Iterable[Batch]]
    """Gives the batches from a step on of a rank among a number of ranks."""
    columns: list[str]
    """Of metrics.csv, besides step."""
    crops_per_step: int
    checkpoint: Path | None = None
    """Where to go on from."""
    validate: Callable[[int], dict[str, float]] | None = None
    """Called on the first rank after each step; what it returns is logged."""


def launch(runtime: Runtime, batch_size: int) -> Fabric:
    """The distributed engine, with its processes started.

    Raises:
        ConfigError: If the batch cannot be shared out equally.
    """
    if runtime.devices < 1 or batch_size % runtime.devices:
        raise ConfigError(
            f"batch_size {batch_size} must divide by devices {runtime.devices}; change either of them"
        )
    fabric = Fabric(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        precision=runtime.precision,
    )
    fabric.launch()
    return fabric


def fit(job: Job[Batch], fabric: Fabric) -> State:
    """Train to the last step, from the checkpoint if there is one, writing metrics and checkpoints.

    Raises:
        Interruption: If the user ended the run; it is saved.
        TrainingError: If a loss is not finite.
    """
    model, optimizer = fabric.setup(job.model, build_optimizer(job.model, job.optimisation))
    state = State(model, optimizer)
    if job.checkpoint is not None:
        load_checkpoint(job.checkpoint, state, job.model)
    batches = job.batches(state.step, fabric.global_rank, fabric.world_size)
    metrics = MetricsFile(job.run / "metrics.csv", ["step", *job.columns], state.step)
    with (
        stop_on_signal() as stop,
        step_progress(job.optimisation.steps, state.step, job.crops_per_step) as progress,
    ):
        train(
            state,
            (batch.to(fabric.device) for batch in batches),
            job.objective,
            fabric,
            lr_at=partial(lr_at, optimisation=job.optimisation),
            max_norm=job.optimisation.max_norm,
            on_step=partial(_after_step, job, fabric, metrics, progress, stop),
        )
    if fabric.is_global_zero:
        save_checkpoint(job.run, state, job.model)
    return state


def _after_step(
    job: Job[Batch],
    fabric: Fabric,
    metrics: MetricsFile,
    progress: StepProgress,
    stop: Stop,
    state: State,
    logged: dict[str, float],
) -> None:
    """Log, validate, save, and end if somebody asked for it."""
    if not fabric.is_global_zero:
        return
    if job.validate is not None:
        logged = logged | job.validate(state.step)
    metrics.append({"step": state.step, **logged})
    progress.update(state.step, logged)
    last = state.step >= job.optimisation.steps
    if stop.requested or last or state.step % job.runtime.checkpoint_every == 0:
        save_checkpoint(job.run, state, job.model)
    if stop.requested and not last:
        raise Interruption(f"{job.run}: saved at step {state.step}; the same command with --resume goes on")
