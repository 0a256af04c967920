"""A pair of adjacent levels: what the crops of one are to foresee, and what is there.

Shapes: B crops of a part, R crops of the level that foresees, n places or children that each of them
foresees, S parents, N keys (what can be foreseen), D channels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mim3d.config import Alignment, PretrainConfig
from mim3d.model.mim import Output
from mim3d.model.patches import index_of, pool_cells
from mim3d.objective.align import align
from mim3d.objective.monitor import cosine_of, spread_of
from mim3d.sampling.batch import RegionBatch
from mim3d.train.chunk import Logged


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A batch, and what is to be done with it."""

    model: nn.Module
    """`Mim`, possibly wrapped by the distributed engine, for what needs no gradient."""
    batch: RegionBatch
    config: PretrainConfig
    at_once: tuple[int, ...]
    """Crops of each level that go through the model together, at most."""
    blank: dict[int, Tensor] = field(default_factory=dict)
    """By level, features (1, L, D) of an empty crop; one for all where levels have no code."""

    def parts(self, number: int) -> Iterator[slice]:
        """Rows of a level's crops that go through the model together, as even as can be."""
        count = len(self.batch.levels[number].crops)
        num_parts = -(-count // self.at_once[number])
        ends = [count * (n + 1) // num_parts for n in range(num_parts)]
        return map(slice, [0, *ends], ends)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """What the crops of a level foresee of an adjacent level, and what they are told apart from."""

    number: int
    """Of the outer level."""
    keys: Tensor
    """(N, D), what is there, without gradient."""
    parent: Tensor
    """(N,), crop of the outer level that each key belongs to."""
    cell: Tensor
    """(N,), raster number of the cell in it."""
    own: Tensor
    """(R, n), rows of what each crop is to foresee."""
    blind: Tensor
    """(cells, D), what an empty parent would give: keys where children predict, queries where parents do."""

    def cells(self, rows: slice) -> Tensor:
        """Cells (B, n) of the parents that these crops are to foresee."""
        return self.cell[self.own[rows]]

    def score(self, foreseen: Tensor, rows: slice, alignment: Alignment) -> tuple[Tensor, Logged]:
        """Mean loss of what some crops (B, D) or (B, n, D) foresee, and what is to be logged of them."""
        own = self.own[rows].flatten()  # (Q,)
        queries = foreseen.reshape(len(own), -1)  # (Q, D)
        kin = self.parent[own][:, None] == self.parent  # (Q, N)
        allowed = kin if alignment.negatives == "parent" else torch.ones_like(kin)
        aligned = align(queries, self.keys, own, allowed, alignment)
        if alignment.predicts == "child":
            cell = self.cell[own]
            everywhere = torch.ones(len(own), len(self.blind), dtype=torch.bool, device=own.device)
            blind = align(queries.detach(), self.blind, cell, everywhere, alignment)
        else:
            blind = align(self.blind[self.cell[own]], self.keys, own, kin, alignment)
        loss = aligned.loss.mean()
        return loss, {
            f"align/{self.number}": loss.detach(),
            f"found/{self.number}": aligned.found.float().mean(),
            f"found_blind/{self.number}": blind.found.float().mean(),
            f"align_cosine/{self.number}": cosine_of(self.keys),
            f"align_spread/{self.number}": spread_of(self.keys),
        }


def hands_down(config: PretrainConfig) -> bool:
    """Whether children foresee what the parents' own passes give: then no pass is needed for it."""
    alignment = config.alignment
    return (alignment.predicts, alignment.features, alignment.momentum) == ("child", "decoder", 0)


@torch.no_grad()
def child_pair(step: Step, number: int, places: Tensor | None) -> Pair | None:
    """What the crops of a level are to foresee of their parents: the feature of the cell they fill.

    Args:
        step: The batch.
        number: The level that foresees.
        places: (S, cells, D), if its parents' passes gave them.
    """
    if number == 0:
        return None
    outer, nesting, level = number - 1, step.config.nesting, step.batch.levels[number]
    cells, cell = nesting.cells(outer), nesting.levels[outer].cell
    if places is None:
        places = torch.cat([pool_cells(one, cells, cell) for one in _features(step, outer)])
    num_parents, num_cells, _ = places.shape
    return Pair(
        number=outer,
        keys=places.flatten(0, 1),
        parent=torch.arange(num_parents, device=places.device).repeat_interleave(num_cells),
        cell=torch.arange(num_cells, device=places.device).repeat(num_parents),
        own=(level.parent * num_cells + level.cell)[:, None],
        blind=pool_cells(_blank(step, outer), cells, cell)[0],
    )


def _blank(step: Step, number: int) -> Tensor:
    """Features (1, L, D) that are foreseen of an empty crop of a level."""
    number = number if step.config.architecture.embedded_levels else 0
    if number not in step.blank:
        crop, nothing = _empty(step, number)
        output: Output = step.model(crop, nothing, None, number)
        step.blank[number] = output.features.float()
    return step.blank[number]


@torch.no_grad()
def parent_pair(step: Step, number: int, _: Tensor | None) -> Pair | None:
    """What the crops of a level are to foresee of their children: the mean of their features.

    Args:
        step: The batch.
        number: The level that foresees.
    """
    if number == len(step.batch.levels) - 1:
        return None
    nesting, below = step.config.nesting, step.batch.levels[number + 1]
    keys = torch.cat([one.mean(dim=1) for one in _features(step, number + 1)])  # (N, D)
    crop, nothing = _empty(step, number)
    every_cell = torch.arange(math.prod(nesting.cells(number)), device=keys.device)[None]
    output: Output = step.model(crop, nothing, nothing, number, every_cell)
    assert output.foreseen is not None
    return Pair(
        number=number,
        keys=keys,
        parent=below.parent,
        cell=below.cell,
        own=below.parent.argsort(stable=True).reshape(-1, nesting.levels[number].children),
        blind=output.foreseen[0],
    )


PAIRS = {"child": child_pair, "parent": parent_pair}
"""What makes the pair that a level foresees, by the side that predicts."""


def _features(step: Step, number: int) -> Iterator[Tensor]:
    """Features (B, L, D) of a level that others are to foresee, part by part."""
    level = step.batch.levels[number]
    for rows in step.parts(number):
        output: Output = step.model(level.crops[rows], index_of(~level.masked[rows]), None, number)
        yield output.features.float()


def _empty(step: Step, number: int) -> tuple[Tensor, Tensor]:
    """A crop of nothing (1, C, X, Y, Z), and no token (1, 0): places are all that is known of it."""
    level = step.batch.levels[number]
    return torch.zeros_like(level.crops[:1]), level.cell.new_zeros(1, 0)
