"""What a run is made of: frozen dataclasses, checked once, saved as JSON with the run.

Sizes are triples (X, Y, Z). Steps count optimiser steps; learning rates are for the whole batch.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from mim3d.errors import ConfigError
from mim3d.geometry import Triple, Vector, divide, divide_exactly

PATCH_SIDES = (1, 2, 4, 8, 16)
"""Voxels of a patch along an axis: the four stages of the encoder halve it to one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Intensities that the network tells apart: clipped to this range, then scaled to [0, 1]."""

    low: float = -1000.0
    """What becomes 0, HU."""
    high: float = 1000.0
    """What becomes 1, HU."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"window needs low < high, got {self.low} and {self.high} HU")


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One level of the hierarchy: what is hidden, and how many of the hidden cells are looked into."""

    cell: Triple = (1, 1, 1)
    """Size of what is hidden or shown as one, tokens."""
    masked_ratio: float = 0.6
    """Share of the cells hidden from the encoder, 0 < ratio < 1."""
    children: int = 4
    """Hidden cells that the next level looks into, per crop of this one; the innermost level has 0."""

    def __post_init__(self) -> None:
        if not 0 < self.masked_ratio < 1:
            raise ConfigError(f"masked_ratio must lie in (0, 1), got {self.masked_ratio}")
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

    def __post_init__(self) -> None:
        if not self.levels:
            raise ConfigError("nesting needs at least one level, got none")
        if min(self.extent) < 1:
            raise ConfigError(f"extent must be positive on every axis, got {self.extent} voxels")
        grid = _grid(self.crop, self.patch)
        for number, level in enumerate(self.levels):
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
        return _grid(self.crop, self.patch)

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """Sizes of the hybrid backbone and its decoder; the defaults are the paper's base size."""

    channels: int = 1
    """Input channels; the scans in a store have 1."""
    dims: tuple[int, int, int, int] = (48, 96, 192, 384)
    """Channels of the three convolution stages and of the transformer."""
    depths: tuple[int, int, int, int] = (2, 2, 2, 11)
    """Blocks of the three convolution stages and of the transformer."""
    num_heads: int = 12
    """Attention heads of the encoder."""
    mlp_ratio: int = 4
    """Hidden channels of each MLP over its input channels."""
    decoder_dim: int = 576
    """Channels of the decoder."""
    decoder_depth: int = 8
    """Transformer blocks of the decoder."""
    decoder_heads: int = 16
    """Attention heads of the decoder."""

    def __post_init__(self) -> None:
        sizes = (self.channels, *self.dims, self.mlp_ratio, self.decoder_dim)
        if min(*sizes, self.num_heads, self.decoder_heads) < 1 or min(*self.depths, self.decoder_depth) < 0:
            raise ConfigError(f"channels and heads must be at least 1, depths at least 0, got {self}")
        for name, dim, heads in (
            ("dims[3]", self.dims[3], self.num_heads),
            ("decoder_dim", self.decoder_dim, self.decoder_heads),
        ):
            if dim % heads or dim % 6:
                both = math.lcm(heads, 6)
                raise ConfigError(
                    f"{name} must divide by its {heads} heads and by 6 (position codes), got {dim}; "
                    f"take a multiple of {both}"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """How a child is aligned with the place it came from in its parent."""

    weight: float = 0.1
    """Weight in the loss of each pair of adjacent levels; 0 switches alignment off."""
    loss: Literal["info_nce", "cosine"] = "info_nce"
    """`info_nce`: find the place among all cells of the parent; `cosine`: 2 - 2 cos."""
    temperature: float = 0.2
    """Of `info_nce`."""

    def __post_init__(self) -> None:
        if self.weight < 0 or self.temperature <= 0:
            raise ConfigError(f"alignment needs weight >= 0 and temperature > 0, got {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimisation:
    """AdamW with linear warm-up and cosine decay to 0."""

    steps: int = 1000
    """Optimiser steps of the whole run."""
    batch_size: int = 2
    """Samples per step over all devices: regions in pre-training, crops in fine-tuning."""
    lr: float = 1e-3
    """Peak learning rate, for the whole batch."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    weight_decay: float = 0.05
    """Not applied to biases, norms and embeddings."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW."""
    max_norm: float = 1.0
    """Gradients are clipped to this norm."""

    def __post_init__(self) -> None:
        for name, value, least in (("steps", self.steps, 1), ("batch_size", self.batch_size, 1)):
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        if self.warmup_steps < 0 or not self.lr > 0:
            raise ConfigError(f"warmup_steps must not be negative and lr positive, got {self}")
        if self.weight_decay < 0 or self.max_norm <= 0 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                f"weight_decay must be at least 0, max_norm positive and betas in [0, 1), got {self}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Where and how often; nothing here changes what is learnt, except `precision`."""

    accelerator: str = "auto"
    """`cpu`, `gpu` or `auto`, as Lightning Fabric names them."""
    devices: int = 1
    """Devices, one process each; `batch_size` must divide by it."""
    precision: str = "32-true"
    """As Lightning Fabric names them, e.g. `bf16-mixed`."""
    num_workers: int = 0
    """Processes that read samples; 0 reads in the training process."""
    chunk_crops: int = 8
    """Crops forward and backward at once: lower it when memory is short; the sum stays the same."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        if min(self.devices, self.chunk_crops, self.checkpoint_every) < 1 or self.num_workers < 0:
            raise ConfigError(
                "devices, chunk_crops and checkpoint_every must be at least 1, num_workers at least 0, "
                f"got {self}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """A pre-training run."""

    preset: str = "base"
    """Sizes and schedule to begin with: `tiny` (two cores) or `base` (the paper's)."""
    seed: int = 0
    """Of weights, regions and masks, 0 or more."""
    window: Window = field(default_factory=Window)
    nesting: Nesting = field(default_factory=Nesting)
    architecture: Architecture = field(default_factory=Architecture)
    alignment: Alignment = field(default_factory=Alignment)
    optimisation: Optimisation = field(default_factory=Optimisation)
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        _require_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """A fine-tuning run for segmentation."""

    preset: str = "base"
    """Sizes and schedule to begin with: `tiny` or `base`; where none is named, those of the weights' run."""
    seed: int = 0
    """Of new weights, crops and augmentation, 0 or more."""
    labels: str = ""
    """Label set of the store."""
    structures: tuple[str, ...] = ()
    """Names from the label set, apart or joined by commas: ids 1, 2, ... of the prediction."""
    crop: Triple = (96, 96, 96)
    """What the network sees at once, voxels of the working grid."""
    patch: Triple = (16, 16, 16)
    """Voxels of one token, as in pre-training."""
    window: Window = field(default_factory=Window)
    architecture: Architecture = field(default_factory=Architecture)
    feature_size: int = 48
    """Channels of the segmentation decoder at full resolution."""
    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(lr=3e-4, weight_decay=1e-5, betas=(0.9, 0.999), max_norm=5.0)
    )
    overlap: float = 0.5
    """Share of a window shared with its neighbour in validation and prediction, 0 <= overlap < 1."""
    validate_every: int = 100
    """Steps between validations."""
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        _require_seed(self.seed)
        _grid(self.crop, self.patch)
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap must lie in [0, 1), got {self.overlap}")
        if self.feature_size < 1 or self.validate_every < 1:
            raise ConfigError(
                f"feature_size (channels) and validate_every (steps) must be at least 1, "
                f"got {self.feature_size} and {self.validate_every}"
            )


def _require_seed(seed: int) -> None:
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}")


def _grid(crop: Triple, patch: Triple) -> Triple:
    """Tokens per axis of a crop, both in voxels.

    Raises:
        ConfigError: If a side of the patch is none of `PATCH_SIDES`.
        GeometryError: If the crop is no multiple of the patch.
    """
    if any(side not in PATCH_SIDES for side in patch):
        raise ConfigError(f"patch must be made of 1, 2, 4, 8 or 16 voxels an axis, got {patch}")
    return divide_exactly(crop, patch, "crop")
