"""Two ways of filling in hidden patches without learning: what reconstruction has to beat.

Shapes: B crops, L tokens, M hidden tokens, C input channels, x y z blocks of a patch, X Y Z space.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from mim3d.geometry import Triple
from mim3d.model.patches import patchify, take_tokens, unpatchify

BLOCK = 4
"""Interpolation works on means over cubes of at most this side, voxels: a yardstick has to be cheap."""


def push_pull(values: Tensor, weights: Tensor) -> Tensor:
    """Fill in what has no weight from what has, near things first.

    Source: Gortler et al. 1996, "The Lumigraph", sec. 3.5: halved by weighted means to a single cell, then
    doubled again. Here doubling is trilinear, and known values stay as they are.

    Args:
        values: (B, C, X, Y, Z).
        weights: (B, 1, X, Y, Z), 0 where nothing is known, else up to 1.

    Returns:
        (B, C, X, Y, Z); 0 where nothing is known at all.
    """
    x, y, z = values.shape[2:]
    if x == y == z == 1:
        return values.where(weights > 0, 0)
    coarse = _halved(weights)
    means = _halved(values * weights) / coarse.clamp(min=torch.finfo(coarse.dtype).tiny)
    doubled = F.interpolate(push_pull(means, coarse), scale_factor=2, mode="trilinear")
    return values.where(weights > 0, doubled[:, :, :x, :y, :z])


def hidden_blocks(crops: Tensor, masked: Tensor, hidden: Tensor, patch: Triple) -> tuple[Tensor, Tensor]:
    """Means over blocks of hidden patches: the true ones, and those interpolated from what is visible.

    Args:
        crops: (B, C, X, Y, Z), intensities.
        masked: (B, L), True = hidden.
        hidden: (B, M), the hidden tokens.
        patch: Voxels of one.

    Returns:
        Twice (B, M, x, y, z, C).
    """
    px, py, pz = (min(side, BLOCK) for side in patch)
    side = (patch[0] // px, patch[1] // py, patch[2] // pz)  # blocks of a patch
    true = F.avg_pool3d(crops, (px, py, pz))
    grid = (true.shape[2] // side[0], true.shape[3] // side[1], true.shape[4] // side[2])
    shown = (~masked).to(true.dtype)[:, :, None, None, None, None]  # (B, L, 1, 1, 1, 1)
    weights = unpatchify(shown.expand(-1, -1, *side, 1), grid)
    filled = push_pull(true, weights)
    return take_tokens(patchify(true, side), hidden), take_tokens(patchify(filled, side), hidden)


def _halved(volume: Tensor) -> Tensor:
    """Means over cubes of side 2; what reaches out counts as 0, as it does in the weights."""
    x, y, z = (side % 2 for side in volume.shape[2:])
    return F.avg_pool3d(F.pad(volume, (0, z, 0, y, 0, x)), 2)
