"""Batches: what the sampler hands to an objective.

Shapes: B samples of a batch, N crops of a level in one sample, C channels, L tokens of a crop, S structures,
X Y Z space.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LevelBatch:
    """The crops of one level of all samples of a batch, parent-major."""

    crops: Tensor
    """(B * N, C, X, Y, Z), intensities in [0, 1]."""
    masked: Tensor
    """(B * N, L), bool, True = hidden from the encoder."""
    padded: Tensor
    """(B * N, L), bool, True = not wholly inside the volume: some of its voxels are padding."""
    parent: Tensor
    """(B * N,), row of the parent crop in the level above; empty at level 0."""
    cell: Tensor
    """(B * N,), raster number of the parent's cell; empty at level 0."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionBatch:
    """Nested regions, level by level."""

    levels: tuple[LevelBatch, ...]
    cases: tuple[str, ...]

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        levels = tuple(
            LevelBatch(
                level.crops.to(device),
                level.masked.to(device),
                level.padded.to(device),
                level.parent.to(device),
                level.cell.to(device),
            )
            for level in self.levels
        )
        return type(self)(levels, self.cases)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledBatch:
    """Labelled crops."""

    crops: Tensor
    """(B, C, X, Y, Z), intensities in [0, 1]."""
    labels: Tensor
    """(B, X, Y, Z), int64, ids of parts: 0 background, 255 ignored."""
    annotated: Tensor
    """(B, S), bool, whether a structure was annotated in the case of a crop."""
    cases: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        moved = (self.crops.to(device), self.labels.to(device), self.annotated.to(device))
        return type(self)(*moved, self.cases)
