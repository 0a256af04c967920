"""The levels: what is cut, what is hidden, and where the next level looks."""

import math
from dataclasses import dataclass, field
from typing import Literal

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
        if not 0 < self.masked_ratio < 1:
            raise ConfigError(f"masked_ratio must lie in (0, 1), got {self.masked_ratio}")
        if self.weight < 0:
            raise ConfigError(f"weight of a level must be at least 0, got {self.weight}")
        if min(self.cell) < 1 or self.children < 0:
            raise ConfigError(f"a level needs cells of at least 1 token and no negative children, got {self}")


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
        if not self.levels:
            raise ConfigError("nesting needs at least one level, got none")
        if min(self.extent) < 1:
            raise ConfigError(f"extent must be positive on every axis, got {self.extent} voxels")
        grid = grid_of(self.crop, self.patch)
        if not any(level.weight for level in self.levels):
            raise ConfigError("at least one level needs a weight above 0")
        for number, level in enumerate(self.levels):
            if any(side % level.target.low_pass for side in self.patch):
                raise ConfigError(
                    f"level {number}: low_pass {level.target.low_pass} must divide the patch {self.patch}"
                )
            cells = divide_exactly(grid, level.cell, f"level {number}: the grid of tokens")
            self._check_counts(number, math.prod(cells))

    def _check_counts(self, number: int, cells: int) -> None:
        level, innermost = self.levels[number], number == len(self.levels) - 1
        if cells < 2:
            raise ConfigError(f"level {number}: one cell is the whole crop; lower its cell {level.cell}")
        if innermost != (level.children == 0):
            needed = "0, as nothing lies further in" if innermost else "at least 1"
            raise ConfigError(f"level {number}: children is {level.children}, must be {needed}")
        if level.children > self.num_hidden_cells(number):
            raise ConfigError(
                f"level {number}: {level.children} children, but only {self.num_hidden_cells(number)} "
                f"of {cells} cells are hidden; raise masked_ratio {level.masked_ratio} or lower children"
            )

    @property
    def grid(self) -> Triple:
        """Tokens per axis of a crop."""
        return grid_of(self.crop, self.patch)

    def cells(self, number: int) -> Triple:
        """Cells per axis of a crop of level `number`."""
        return divide_exactly(self.grid, self.levels[number].cell, "grid")

    def num_hidden_cells(self, number: int) -> int:
        """Cells hidden from the encoder in each crop of level `number`, at least one and not all."""
        cells = math.prod(self.cells(number))
        return min(max(round(cells * self.levels[number].masked_ratio), 1), cells - 1)

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
        raise ConfigError(f"patch must be made of 1, 2, 4, 8 or 16 voxels an axis, got {patch}")
    return divide_exactly(crop, patch, "crop")
