"""The levels: what is cut, what is hidden, and where the next level looks."""

import math
from dataclasses import dataclass, field
from typing import Literal

from mim3d.config.checks import (
    check_cell,
    check_children,
    check_extent,
    check_low_pass,
    check_share,
    num_hidden,
    require,
    require_choices,
)
from mim3d.config.objective import Target
from mim3d.errors import ConfigError
from mim3d.geometry import Triple, Vector, divide, divide_exactly

PATCH_SIDES = (1, 2, 4, 8, 16)
"""Voxels of a patch along an axis: the four stages of the encoder halve it to one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One level of the hierarchy: what is hidden, and how many of the hidden cells are looked into."""

    cell: Triple = (1, 1, 1)
    """Size of what is hidden or shown as one, tokens."""
    masked_ratio: float = 0.6
    """Share of the cells hidden from the encoder, 0 < ratio < 1."""
    children: int = 4
    """Hidden cells that the next level looks into, per crop of this one; the innermost level has 0."""
    weight: float = 1.0
    """Weight in the loss of reconstructing this level."""
    target: Target = field(default_factory=Target)

    def __post_init__(self) -> None:
        require(min(self.cell) >= 1, "cell of a level", self.cell, "at least 1 token on every axis")
        require(
            0 < self.masked_ratio < 1, "masked_ratio", self.masked_ratio, "between 0 and 1, without these"
        )
        require(self.children >= 0, "children of a level", self.children, "0 or more")
        require(0 <= self.weight < math.inf, "weight of a level", self.weight, "0 or more, and finite")

    def suits(self, cells: int) -> bool:
        """Whether a crop of so many cells can hide the share that is asked for, and the children in it."""
        hidden = num_hidden(cells, self.masked_ratio)
        return 0 < hidden < cells and self.children <= hidden


@dataclass(frozen=True, kw_only=True, slots=True)
class Nesting:
    """The levels, outermost first, and the sizes they share."""

    extent: Triple = (192, 192, 192)
    """Region of level 0, voxels of the working grid."""
    crop: Triple = (96, 96, 96)
    """What the encoder sees at every level, voxels: each level's region is resized to it."""
    patch: Triple = (16, 16, 16)
    """Voxels of one token, powers of two from 1 to 16."""
    levels: tuple[Level, ...] = (
        Level(cell=(3, 3, 3), masked_ratio=0.5),
        Level(masked_ratio=0.6),
        Level(masked_ratio=0.5, children=0),
    )
    """Outermost first."""
    body_aware: bool = True
    """Regions lie about a voxel of the body, and hidden cells with body in them have children first."""
    masks: Literal["cells", "as_released"] = "cells"
    """`cells`: children lie in what is hidden; `as_released`: hidden tokens are runs in raster order instead,
    which cover cells of several tokens only in part, as in the authors' release. For comparison alone."""

    def __post_init__(self) -> None:
        require_choices(self)
        require(len(self.levels) > 0, "levels", self.levels, "at least one")
        require(min(self.extent) >= 1, "extent", self.extent, "at least 1 voxel on every axis")
        weights = [level.weight for level in self.levels]
        require(any(weights), "the weight of one level at least", weights, "above 0")
        grid = grid_of(self.crop, self.patch)
        for number, level in enumerate(self.levels):
            where = f"level {number}"
            check_low_pass(where, level.target.low_pass, level.target.kind, self.patch)
            check_cell(where, level.cell, grid, level.suits)
            cells = math.prod(self.cells(number))
            check_share(where, level.masked_ratio, cells)
            innermost = number == len(self.levels) - 1
            needed = "0, as nothing lies further in" if innermost else "1 or more, as a level lies further in"
            require(innermost == (level.children == 0), f"{where}: children", level.children, needed)
            check_children(where, level.children, level.masked_ratio, cells)
        check_extent(self.extent, [self.cells(number) for number in range(len(self.levels) - 1)])

    @property
    def grid(self) -> Triple:
        """Tokens per axis of a crop."""
        return grid_of(self.crop, self.patch)

    def cells(self, number: int) -> Triple:
        """Cells per axis of a crop of level `number`."""
        return divide_exactly(self.grid, self.levels[number].cell, "grid")

    def num_hidden_cells(self, number: int) -> int:
        """Cells hidden from the encoder in each crop of level `number`, at least one and not all."""
        return num_hidden(math.prod(self.cells(number)), self.levels[number].masked_ratio)

    def num_crops(self, number: int) -> int:
        """Crops of level `number` in one region."""
        return math.prod(level.children for level in self.levels[:number])

    def extents(self) -> tuple[Vector, ...]:
        """Extent of each level's region, voxels of the working grid: a child's follows from its parent's."""
        extents: list[Vector] = [(float(self.extent[0]), float(self.extent[1]), float(self.extent[2]))]
        for number in range(len(self.levels) - 1):
            extents.append(divide(extents[-1], self.cells(number)))
        return tuple(extents)


def grid_of(crop: Triple, patch: Triple) -> Triple:
    """Tokens per axis of a crop, both in voxels.

    Raises:
        ConfigError: If a side of the patch is none of `PATCH_SIDES`.
        GeometryError: If the crop is no multiple of the patch.
    """
    if any(side not in PATCH_SIDES for side in patch):
        nearest = tuple(min(PATCH_SIDES, key=lambda fit: (abs(fit - side), fit)) for side in patch)
        raise ConfigError(
            f"patch must be made of 1, 2, 4, 8 or 16 voxels an axis, got {patch}; the nearest is {nearest}"
        )
    return divide_exactly(crop, patch, "crop")
