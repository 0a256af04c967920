"""MiM's objective: reconstruct every level, align each child with its place in its parent.

Parents go first. What one level is to foresee of another is computed without gradient beforehand, so that
each level can be propagated backward, and forgotten, before the next one begins.

Shapes: B crops of a part, N crops of a level in the batch, L tokens, M hidden tokens, D channels.
Source: Zhuang et al. 2025, arXiv:2404.15580.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from mim3d.config import PretrainConfig
from mim3d.model.mim import Mim, Output
from mim3d.model.patches import index_of, pool_cells
from mim3d.objective.monitor import YARDSTICKS, aligns
from mim3d.objective.pair import PAIRS, Pair, Step, hands_down
from mim3d.objective.reconstruct import Part, errors, which_count
from mim3d.sampling.batch import RegionBatch
from mim3d.train.chunk import Chunk, Group, Logged


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is to be learnt from the crops of one level."""

    number: int
    """Of the level."""
    counted: Tensor
    """(N, M), bool, hidden patches that count in the loss."""
    num_counted: int
    """How many do, at least 1."""
    pair: Pair | None
    """What they are to foresee; None if nothing."""
    places: dict[int, Tensor]
    """Takes the features (B, cells, D) of their cells, for their children, by the first crop's row."""


def pretrain_chunks(
    model: nn.Module, batch: RegionBatch, config: PretrainConfig, at_once: tuple[int, ...]
) -> Iterator[Group]:
    """The loss of a batch, a group of chunks a level, at most `at_once[level]` crops each."""
    cast(Mim, model).follow()
    step = Step(model, batch, config, at_once)
    handed: Tensor | None = None
    innermost = len(batch.levels) - 1
    for number, level in enumerate(batch.levels):
        pair = PAIRS[config.alignment.predicts](step, number, handed) if aligns(config) else None
        counted = _counted(step, number)
        task = Task(number, counted, max(int(counted.sum()), 1), pair, {})
        end = len(level.crops) if number == innermost else None
        yield [Chunk(partial(_score, step, task, rows), rows.stop == end) for rows in step.parts(number)]
        handed = torch.cat([place for _, place in sorted(task.places.items())]) if task.places else None


def _score(step: Step, task: Task, rows: slice, model: nn.Module) -> tuple[Tensor, Logged]:
    """Loss of some crops of a level, weighted by their share in the level, and its terms."""
    config, number, level = step.config, task.number, step.batch.levels[task.number]
    part = _part(step, number, rows, task.counted[rows])
    no_cell = part.hidden[:, :0]
    cells = no_cell if task.pair is None else task.pair.cells(rows)
    output: Output = model(part.crops, index_of(~part.masked), part.hidden, number, cells)
    weight = part.counted.numel() / task.num_counted
    terms = [weight * error for error in errors(output.predicted, part, config.nesting, number)]
    names = ("reconstruct", *YARDSTICKS.values())
    logged = {f"{name}/{number}": term.detach() for name, term in zip(names, terms, strict=True)}
    loss = config.nesting.levels[number].weight * terms[0]
    if output.foreseen is not None:
        aligned, values = _align(output.foreseen, task.pair, rows, config)
        share = len(part.crops) / len(level.crops)
        loss = loss + config.alignment.weight * (share * aligned)
        logged |= {name: share * value for name, value in values.items()}
    if hands_down(config) and number < len(step.batch.levels) - 1:
        features, cell = output.features.detach().float(), config.nesting.levels[number].cell
        task.places[rows.start] = pool_cells(features, config.nesting.cells(number), cell)
    return loss, logged


def _align(foreseen: Tensor, pair: Pair | None, rows: slice, config: PretrainConfig) -> tuple[Tensor, Logged]:
    if pair is None:  # nothing to foresee, but distributed training waits for every weight to take part
        return foreseen[:, :0].sum(), {}
    return pair.score(foreseen, rows, config.alignment)


def _counted(step: Step, number: int) -> Tensor:
    """Which hidden patches (N, M) of a level count: how many is needed before the first part is scored."""
    nesting, padded = step.config.nesting, step.batch.levels[number].padded
    target = nesting.levels[number].target
    parts = ((rows, _part(step, number, rows, None)) for rows in step.parts(number))
    return torch.cat([which_count(part, padded[rows], nesting.patch, target) for rows, part in parts])


def _part(step: Step, number: int, rows: slice, counted: Tensor | None) -> Part:
    """Some crops of a level; all of their hidden patches count if nothing else is known."""
    level = step.batch.levels[number]
    hidden = index_of(level.masked[rows])
    everything = torch.ones_like(hidden, dtype=torch.bool)
    return Part(level.crops[rows], level.masked[rows], hidden, everything if counted is None else counted)
