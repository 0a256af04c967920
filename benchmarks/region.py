"""One nested region of noise, as a batch: what benchmarks compute on; times do not depend on voxels."""

from dataclasses import replace

import numpy as np
import torch

from mim3d.config import Nesting, PretrainConfig
from mim3d.geometry import Box
from mim3d.sampling.batch import LevelBatch, RegionBatch
from mim3d.sampling.masks import draw_levels

NOWHERE = np.empty((0, 3), dtype=np.int32)


def region_of(nesting: Nesting, channels: int = 1) -> RegionBatch:
    """Crops and masks of one region, as the sampler draws them, with random voxels in [0, 1]."""
    x, y, z = nesting.extent
    region = Box((0.0, 0.0, 0.0), (float(x), float(y), float(z)))
    random = torch.Generator().manual_seed(0)
    levels = []
    for plan in draw_levels(nesting, region, NOWHERE, np.random.default_rng(0)):
        masked = torch.from_numpy(plan.masked)
        levels.append(
            LevelBatch(
                crops=torch.rand(len(plan.boxes), channels, *nesting.crop, generator=random),
                masked=masked,
                padded=torch.zeros_like(masked),
                parent=torch.tensor(plan.parent, dtype=torch.long),
                cell=torch.tensor(plan.cell, dtype=torch.long),
            )
        )
    return RegionBatch(tuple(levels), ("noise",))


def with_children(config: PretrainConfig, children: int) -> PretrainConfig:
    """The same with this many children at every level but the innermost."""
    levels = tuple(
        replace(level, children=children if level.children else 0) for level in config.nesting.levels
    )
    return replace(config, nesting=replace(config.nesting, levels=levels))
