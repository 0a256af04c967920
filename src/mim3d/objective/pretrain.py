"""MiM's objective: reconstruct every level, align each child with its place in its parent.

Parents go first; the features of their places are handed down without gradient, so that each level can be
propagated backward, and forgotten, before the next one begins.

Shapes: B crops of a level in the batch, L tokens, D decoder channels, P voxels per patch.
Source: Zhuang et al. 2025, arXiv:2404.15580.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from mim3d.config import PretrainConfig
from mim3d.model.mim import Output
from mim3d.model.patches import index_of, patchify, take_tokens
from mim3d.objective.align import align, pool_cells
from mim3d.objective.reconstruct import patch_mse
from mim3d.sampling.loader import LevelBatch, RegionBatch
from mim3d.train.chunk import Chunk, Logged


def pretrain_chunks(
    model: nn.Module, batch: RegionBatch, config: PretrainConfig, at_once: tuple[int, ...]
) -> Iterator[Chunk]:
    """The loss of a batch, level by level, `at_once[level]` crops at a time."""
    places: Tensor | None = None
    for number, level in enumerate(batch.levels):
        starts = range(0, len(level.crops), at_once[number])
        found: list[Tensor] = []
        for start in starts:
            rows = slice(start, start + at_once[number])
            above = None if places is None else places[level.parent[rows]]  # (B, cells, D)
            innermost = number == len(batch.levels) - 1
            yield Chunk(
                partial(_score, model, level, rows, above, number, config, None if innermost else found),
                last=innermost and start == starts[-1],
            )
        places = torch.cat(found) if found else None


def _score(
    model: nn.Module,
    level: LevelBatch,
    rows: slice,
    above: Tensor | None,
    number: int,
    config: PretrainConfig,
    found: list[Tensor] | None,
) -> tuple[Tensor, Logged]:
    """Loss of some crops of a level, weighted by their share; `found` takes the features of their places."""
    crops, masked = level.crops[rows], level.masked[rows]
    share = len(crops) / len(level.crops)
    hidden = index_of(masked)
    output: Output = model(crops, index_of(~masked), hidden)
    patches = take_tokens(patchify(crops, config.nesting.patch).flatten(2), hidden)  # (B, M, P)
    loss = share * patch_mse(output.predicted, patches)
    logged = {f"reconstruct/{number}": loss.detach()}
    if above is not None and output.foreseen is not None:
        aligned = share * align(output.foreseen, above, level.cell[rows], config.alignment).mean()
        logged[f"align/{number - 1}"] = aligned.detach()
        loss = loss + config.alignment.weight * aligned
    if found is not None:
        features = output.features.detach().float()
        found.append(pool_cells(features, config.nesting.cells(number), config.nesting.levels[number].cell))
    return loss, logged
