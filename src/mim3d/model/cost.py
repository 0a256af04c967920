"""What a crop costs: memory kept for its backward pass, and so how many go at once."""

import math

from mim3d.config import Architecture, Nesting, PretrainConfig

FLOAT_BYTES = 4


def crops_at_once(config: PretrainConfig) -> tuple[int, ...]:
    """Crops of each level that `runtime.memory_gb` holds, at least one."""
    levels = range(len(config.nesting.levels))
    kept = (bytes_kept(config.nesting, config.architecture, level) for level in levels)
    return tuple(max(1, int(config.runtime.memory_gb * 1e9 / each)) for each in kept)


def bytes_kept(nesting: Nesting, architecture: Architecture, level: int) -> int:
    """Bytes that the forward pass of one crop of a level keeps for the backward pass, in float32."""
    tokens = math.prod(nesting.grid)
    hidden = nesting.num_hidden_cells(level) * math.prod(nesting.levels[level].cell)
    visible = tokens - hidden
    voxels, kept = math.prod(nesting.patch), 0
    for stage in range(3):
        voxels = voxels // 8
        kept += visible * voxels * architecture.dims[stage] * 14 * architecture.depths[stage]
    kept += visible * architecture.dims[3] * 15 * architecture.depths[3]
    kept += tokens * architecture.decoder_dim * 15 * architecture.decoder_depth
    return FLOAT_BYTES * (kept + 2 * hidden * math.prod(nesting.patch))
