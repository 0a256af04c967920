"""What a region costs: floating-point operations, memory kept for the backward pass, crops that go at once.

Counted are matrix products, convolutions and attention, a multiplication and an addition as two operations.
"""

import math
from dataclasses import dataclass

from mim3d.config import Architecture, Nesting, PretrainConfig
from mim3d.model.depthwise import HALO, KERNEL
from mim3d.model.encoder import strides_of

FLOAT_BYTES = 4
INDEX_BYTES = 8


@dataclass(frozen=True, slots=True)
class CropCost:
    """Of one crop of a level, forward."""

    flops: int
    """Floating-point operations."""
    bytes_kept: int
    """For the backward pass, in float32."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the crops of a step are shared out."""

    threads: int
    """That compute crops side by side, each with gradients of its own; 1 where they share each operation."""
    at_once: tuple[int, ...]
    """Crops of each level that go through the model together, a thread, at most."""
    gb_for_threads: float
    """What `runtime.memory_gb` must be for all threads to compute side by side, GB."""


def plan_step(config: PretrainConfig, num_weights: int, threads: int) -> Plan:
    """As many crops at once as `runtime.memory_gb` holds, at least one.

    Args:
        config: The run's.
        num_weights: Trainable values of the model, each of which has a gradient in each thread.
        threads: Side by side, if the memory holds a crop of each and gradients of each but the first; else
            all share.
    """
    nesting, budget = config.nesting, config.runtime.memory_gb * 1e9
    levels = range(len(nesting.levels))
    kept = [crop_cost(nesting, config.architecture, level).bytes_kept for level in levels]
    gradients = (threads - 1) * num_weights * FLOAT_BYTES
    needed = gradients + threads * max(kept)
    if budget < needed:
        threads, gradients = 1, 0
    room, batch = (budget - gradients) / threads, config.optimisation.batch_size // config.runtime.devices
    at_once = (_even(batch * nesting.num_crops(level), room / kept[level], threads) for level in levels)
    return Plan(threads, tuple(at_once), needed / 1e9)


def _even(count: int, room: float, threads: int) -> int:
    """Size of a part, where `count` crops go in parts as even as can be, of at most `room` crops."""
    num_parts = -(-count // max(1, int(room)))
    return -(-count // (threads * -(-num_parts // threads)))


def flops_of_region(config: PretrainConfig) -> int:
    """Floating-point operations of one region forward and backward, which takes twice as many as forward."""
    nesting = config.nesting
    levels = range(len(nesting.levels))
    return 3 * sum(nesting.num_crops(n) * crop_cost(nesting, config.architecture, n).flops for n in levels)


def crop_cost(nesting: Nesting, architecture: Architecture, level: int) -> CropCost:
    """Operations and memory of one crop of a level."""
    tokens = math.prod(nesting.grid)
    hidden = nesting.num_hidden_cells(level) * math.prod(nesting.levels[level].cell)
    return _sum(
        [
            _convolutions(architecture, nesting, tokens - hidden),
            _transformer(
                architecture.dims[3], architecture.depths[3], architecture.mlp_ratio, tokens - hidden
            ),
            _decoder(architecture, math.prod(nesting.patch), tokens, hidden),
            _spared(architecture, tokens, hidden if level == len(nesting.levels) - 1 else tokens),
        ]
    )


def _convolutions(architecture: Architecture, nesting: Nesting, visible: int) -> CropCost:
    """Patch embeddings, convolution stages and skips."""
    dims, flops, kept = (architecture.channels, *architecture.dims), 0, 0
    side, last = nesting.patch, architecture.dims[3]
    kept += FLOAT_BYTES * visible * math.prod(nesting.patch) * architecture.channels
    for stage, stride in enumerate(strides_of(nesting.patch)):
        side = (side[0] // stride[0], side[1] // stride[1], side[2] // stride[2])
        voxels, dim_in, dim = visible * math.prod(side), dims[stage], dims[stage + 1]
        cell = math.prod(stride) * dim_in
        flops += 2 * voxels * cell * dim
        kept += FLOAT_BYTES * voxels * dim
        if stage == len(architecture.dims) - 1:
            break
        depth, ratio = architecture.depths[stage], architecture.mlp_ratio
        flops += depth * 2 * voxels * dim * (2 * dim + KERNEL**3 + 2 * ratio * dim) + 2 * voxels * dim * last
        kept += FLOAT_BYTES * depth * 4 * voxels * dim
        kept += INDEX_BYTES * visible * math.prod(s + 2 * HALO for s in side)
    return CropCost(flops + 2 * visible * last * last, kept)


def _transformer(dim: int, depth: int, ratio: int, tokens: int) -> CropCost:
    flops = 2 * tokens * dim * dim * (4 + 2 * ratio) + 4 * tokens * tokens * dim
    kept = FLOAT_BYTES * tokens * dim * (8 + 2 * ratio)
    return CropCost(depth * flops, depth * kept)


def _decoder(architecture: Architecture, patch_voxels: int, tokens: int, hidden: int) -> CropCost:
    dim, values = architecture.decoder_dim, patch_voxels * architecture.channels
    blocks = _transformer(dim, architecture.decoder_depth, architecture.mlp_ratio, tokens)
    flops = 2 * (tokens - hidden) * architecture.dims[3] * dim + 2 * hidden * dim * values
    return _sum([blocks, CropCost(flops, FLOAT_BYTES * hidden * values)])


def _spared(architecture: Architecture, tokens: int, wanted: int) -> CropCost:
    """What the decoder's last block saves where only some tokens are wanted of it."""
    dim, ratio, spared = architecture.decoder_dim, architecture.mlp_ratio, tokens - wanted
    if not architecture.decoder_depth:
        return CropCost(0, 0)
    flops = 2 * spared * dim * dim * (2 + 2 * ratio) + 4 * spared * tokens * dim
    return CropCost(-flops, -FLOAT_BYTES * spared * dim * (5 + 2 * ratio))


def _sum(costs: list[CropCost]) -> CropCost:
    return CropCost(sum(cost.flops for cost in costs), sum(cost.bytes_kept for cost in costs))
