"""What every fine-tuning recipe does: weights into a network, a run folder, training that keeps the best."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from lightning.fabric import Fabric
from torch import nn

from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.data.catalog import Case, column_of
from mim3d.data.store import Store
from mim3d.downstream.backbone import LoadReport
from mim3d.downstream.classifier import Classifier
from mim3d.downstream.segmenter import Network
from mim3d.downstream.transfer import freeze, paces
from mim3d.recipes.looks import say_pretrained
from mim3d.recipes.messages import say
from mim3d.recipes.run import (
    began_pretrained,
    begin_run,
    is_finished,
    reopen_run,
    say_mixture,
    suit,
    threads_apart,
)
from mim3d.recipes.run_cases import PRETRAINED, known_to, write_cases
from mim3d.reporting.summary import closing_line
from mim3d.run_files import SCORES
from mim3d.train.chunk import Group
from mim3d.train.fit import Batch, Job, fit, launch
from mim3d.train.optim import Pace
from mim3d.train.run_folder import forget_scores

Model = TypeVar("Model", bound=Network | Classifier)


class Keeper(Protocol):
    """Validates while a network learns, and keeps its best weights."""

    @property
    def measure(self) -> str:
        """Column of metrics.csv by which the best step is chosen."""

    def after_step(self, step: int) -> dict[str, float]:
        """What is logged of a step: the measure where it is due."""

    def conclude(self) -> None:
        """Score the best weights; `SCORES` is written last."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task(Generic[Model, Batch]):
    """What is learnt, from what, and how it is judged."""

    command: str
    """As it is called on the command line."""
    store: Store
    settings: FinetuneConfig | ClassifyConfig
    train: Sequence[Case]
    val: Sequence[Case]
    """Those that choose the best step."""
    differences: Sequence[str]
    """How the scans that the weights learnt from differ from those at hand."""
    tell: Callable[[], None]
    """Tells the user of the cases, before training begins."""
    build: Callable[[], Model]
    """Makes the network with new weights."""
    begin: Callable[[Path, Model], LoadReport]
    """Fills its encoder from a run folder or file."""
    keeper: Callable[[Model], Keeper]
    objective: Callable[[nn.Module, Batch], Iterator[Group]]
    batches: Callable[[int, int, int], Iterator[Batch]]
    """From a step on, of a rank among a number of ranks."""
    logged: Collection[str]
    """What the objective logs of a step, besides the loss."""
    chunks: int = 1
    """Of a step, that could be computed side by side."""


def run_task(task: Task[Model, Batch], run: Path, init: Path | None, *, resume: bool) -> Path:
    """Train to the last step, and score the best weights; a finished run ends at once.

    Args:
        task: What is learnt.
        run: Folder to write.
        init: Where the encoder's weights come from; None for new ones.
        resume: Go on from the last checkpoint, if there is one.

    Returns:
        The run folder.

    Raises:
        MimError: If the weights, the run folder or a setting cannot be used.
    """
    settings = task.settings
    checkpoint = reopen_run(run, settings, resume=resume)
    if is_finished(checkpoint, settings, run / SCORES):
        return run
    fabric = launch(settings.runtime, settings.optimisation.batch_size)
    torch.manual_seed(settings.seed)
    model = task.build()
    suit(model, settings.runtime)
    loaded = [] if init is None or checkpoint else [str(task.begin(init, model))]
    freeze(model, settings.transfer.frozen_stages)
    if fabric.is_global_zero:
        transfer = (*task.differences, *loaded)
        begin_run(run, settings, task.store, checkpoint, command=task.command, init=init, transfer=transfer)
        for name in forget_scores(run):  # of a run that was finished with fewer steps
            say(f"{run}: {name} was of the weights so far and is deleted; score the run again")
        for line in (*(f"warning: {difference}" for difference in task.differences), *loaded):
            say(line)
        known = known_to(init, task.store)
        write_cases(run, keep=checkpoint is not None, train=task.train, val=task.val, **known)
        say_pretrained(run, set(column_of(known.get(PRETRAINED, ()), "patient")), task.val)
        say_mixture(task.store, task.train)
        task.tell()
    keeper = task.keeper(model)
    learning = paces(model, settings.transfer, settings.optimisation, pretrained=began_pretrained(run))
    fit(_job(task, run, model, keeper, learning, checkpoint, fabric), fabric)
    if fabric.is_global_zero:
        keeper.conclude()
        say(closing_line(run))
    return run


def _job(
    task: Task[Model, Batch],
    run: Path,
    model: Model,
    keeper: Keeper,
    learning: Sequence[Pace],
    checkpoint: Path | None,
    fabric: Fabric,
) -> Job[Batch]:
    settings, rates = task.settings, ["lr", "lr/encoder"] if learning else ["lr"]
    return Job(
        run=run,
        model=model,
        optimisation=settings.optimisation,
        runtime=settings.runtime,
        objective=task.objective,
        batches=task.batches,
        columns=["loss", *task.logged, *rates, keeper.measure],
        seed=settings.seed,
        paces=learning,
        crops_per_step=settings.optimisation.batch_size,
        threads=_threads(task, learning, fabric),
        checkpoint=checkpoint,
        validate=keeper.after_step,
    )


def _threads(task: Task[Model, Batch], learning: Sequence[Pace], fabric: Fabric) -> int:
    """Chunks side by side, but not where threads would draw in turn, or some weights learn later."""
    if task.settings.transfer.drop_path or any(pace.begins for pace in learning):
        return 1
    return min(threads_apart(fabric, task.settings.runtime), task.chunks)
