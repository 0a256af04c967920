"""One training run: the engine, the loop, and what is written down after each step."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from mim3d.config import Optimisation, Runtime
from mim3d.errors import ConfigError, Interruption
from mim3d.run_files import METRICS, TIMINGS
from mim3d.train.allocator import keep_freed_memory
from mim3d.train.apart import sharing
from mim3d.train.checkpoint import load_checkpoint, save_checkpoint
from mim3d.train.chunk import Group
from mim3d.train.interrupt import Stop, stop_on_signal
from mim3d.train.loop import State, train
from mim3d.train.optim import Pace, build_optimizer, set_rates
from mim3d.train.progress import step_progress
from mim3d.train.run_folder import StepTable
from mim3d.train.timings import StepTimer, Timing

PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")
"""Half precision would need scaled losses, which the loop's clipping and checks do not know."""


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
    objective: Callable[[nn.Module, Batch], Iterator[Group]]
    batches: Callable[[int, int, int], Iterable[Batch]]
    """Gives the batches from a step on of a rank among a number of ranks."""
    columns: list[str]
    """Of metrics.csv, besides step."""
    crops_per_step: int
    seed: int = 0
    """Of what the network draws while it learns."""
    paces: Sequence[Pace] = ()
    """Weights that learn at a rate of their own."""
    threads: int = 1
    """That compute chunks side by side, each with gradients of its own; above 1 on one CPU in float32 alone,
    since Fabric keeps what it knows of other precisions in one place for all threads."""
    checkpoint: Path | None = None
    """Where to go on from."""
    validate: Callable[[int], dict[str, float]] | None = None
    """Called on the first rank after each step; what it returns is logged."""
    derived: Callable[[dict[str, float]], dict[str, float]] = dict
    """Makes what is logged of a step from the sums over its chunks."""
    progress_without: frozenset[str] = frozenset()
    """Kinds of columns, up to the slash, that are not shown while training."""


Record = Callable[[int, dict[str, float]], None]
"""Called with the step that was just done and what is logged of it."""


def launch(runtime: Runtime, batch_size: int) -> Fabric:
    """The distributed engine, with its processes started.

    Raises:
        ConfigError: If the batch cannot be shared out equally, or the machine has no such devices.
    """
    if batch_size % runtime.devices:
        raise ConfigError(
            f"batch_size {batch_size} must divide by devices {runtime.devices}; change either of them"
        )
    if runtime.precision not in PRECISIONS:
        raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, got {runtime.precision!r}")
    try:
        fabric = Fabric(accelerator=runtime.accelerator, devices=runtime.devices, precision=runtime.precision)
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"accelerator {runtime.accelerator!r} with {runtime.devices} devices cannot be used ({reason}); "
            "`--runtime.accelerator cpu` always can"
        ) from error
    fabric.launch()
    return fabric


def fit(job: Job[Batch], fabric: Fabric) -> State:
    """Train to the last step, from the checkpoint if there is one, writing metrics, timings, checkpoints.

    Raises:
        Interruption: If the user ended the run; it is saved.
        TrainingError: If a loss is not finite.
    """
    on_cpu = fabric.device.type == "cpu"
    assert job.threads == 1 or (
        on_cpu and fabric.world_size == 1 and job.runtime.precision == "32-true" and not job.runtime.compile
    )
    if on_cpu:
        keep_freed_memory()
    model, optimizer = fabric.setup(job.model, build_optimizer(job.model, job.optimisation, job.paces))
    apart = (fabric.setup_module(sharing(job.model)) for _ in range(job.threads - 1))
    state = State(model, optimizer, apart=tuple(apart))
    if job.checkpoint is not None:
        load_checkpoint(job.checkpoint, state, job.model)
    batches = job.batches(state.step, fabric.global_rank, fabric.world_size)
    timer = StepTimer()
    with stop_on_signal() as stop, _recorder(job, fabric, state.step, timer) as record:
        train(
            state,
            timer.timed(batch.to(fabric.device) for batch in batches),
            job.objective,
            fabric,
            begin_step=partial(_begin_step, job, fabric.global_rank),
            max_norm=job.optimisation.max_norm,
            on_step=partial(_after_step, job, fabric, record, stop),
        )
    return state


def _begin_step(job: Job[Batch], rank: int, state: State) -> dict[str, float]:
    """Seed what a network draws (`drop_path`) by the step, so that a resumed run draws the same."""
    seed = np.random.SeedSequence([job.seed, state.step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(seed[0]))
    return set_rates(state.optimizer, state.step, job.optimisation)


def _after_step(
    job: Job[Batch], fabric: Fabric, record: Record, stop: Stop, state: State, logged: dict[str, float]
) -> None:
    """Write down the step, save when it is due, and end if somebody asked one of the processes to."""
    record(state.step, logged)
    asked = fabric.all_reduce(torch.tensor(float(stop.requested), device=fabric.device), reduce_op="sum")
    last = state.step == job.optimisation.steps
    if fabric.is_global_zero and (asked or last or state.step % job.runtime.checkpoint_every == 0):
        save_checkpoint(job.run, state, job.model)
    if asked and not last:
        fabric.barrier()  # nobody leaves before the checkpoint is written
        raise Interruption(f"{job.run}: saved at step {state.step}; the same command with --resume goes on")


@contextmanager
def _recorder(job: Job[Batch], fabric: Fabric, first_step: int, timer: StepTimer) -> Iterator[Record]:
    """Gives what is to be called after each step: the first process validates, logs and shows progress."""
    if not fabric.is_global_zero:
        yield lambda _step, _logged: None
        return
    metrics = StepTable(job.run / METRICS, ["step", *job.columns], first_step)
    timings = StepTable(job.run / TIMINGS, ["step", *(field.name for field in fields(Timing))], first_step)

    def record(step: int, logged: dict[str, float]) -> None:
        logged = job.derived(logged)
        if job.validate is not None:
            logged = logged | job.validate(step)
        metrics.append({"step": step, **logged})
        kinds = {name: name.split("/")[0] for name in logged}
        shown = {name: v for name, v in logged.items() if kinds[name] not in job.progress_without}
        timing = timer.lap()
        timings.append({"step": step, **asdict(timing)})
        progress.update(step, shown, timing)

    with step_progress(job.optimisation.steps, first_step, job.crops_per_step) as progress:
        yield record
