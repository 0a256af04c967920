"""Reconstruction: how far what is predicted of hidden patches is from the truth, and from the obvious.

Shapes: B crops, L tokens, M hidden tokens, P voxels per patch, C input channels.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mim3d.config import Nesting, Target
from mim3d.errors import GeometryError
from mim3d.geometry import Triple
from mim3d.model.patches import patchify, take_tokens
from mim3d.objective.interpolate import BLOCK, hidden_blocks


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some crops of a level, and which of their hidden patches count."""

    crops: Tensor
    """(B, C, X, Y, Z), intensities in [0, 1]."""
    masked: Tensor
    """(B, L), bool, True = hidden from the encoder."""
    hidden: Tensor
    """(B, M), the hidden tokens."""
    counted: Tensor
    """(B, M), bool: those of them that count in the loss."""


class Scale(NamedTuple):
    """What a patch is like, and how its intensities become a target: less `centre`, over `deviation`."""

    mean: Tensor
    """(B, M, 1, C)."""
    variance: Tensor
    """(B, M, 1, C), unbiased."""
    centre: Tensor
    deviation: Tensor


class Errors(NamedTuple):
    """Mean squared errors of hidden patches, scalars; patches that do not count are taken as 0."""

    predicted: Tensor
    mean: Tensor
    """Of each patch's own mean."""
    interpolated: Tensor
    """Of interpolation; for a normalised target of the patch's mean, where that is closer."""


def hidden_patches(crops: Tensor, hidden: Tensor, patch: Triple, target: Target) -> Tensor:
    """The patches (B, M, P, C) at tokens (B, M) of crops (B, C, X, Y, Z), low-passed as the target asks."""
    cubes = take_tokens(patchify(crops, patch), hidden)  # (B, M, x, y, z, C)
    return low_passed(cubes, target.low_pass).flatten(2, 4)


def low_passed(cubes: Tensor, side: int) -> Tensor:
    """Each voxel of (B, M, x, y, z, C) replaced by the mean over its cube of `side` voxels."""
    if side == 1:
        return cubes
    batch, count, x, y, z, channels = cubes.shape
    cut = cubes.reshape(batch, count, x // side, side, y // side, side, z // side, side, channels)
    means = cut.mean(dim=(3, 5, 7), keepdim=True)
    return means.expand_as(cut).reshape(cubes.shape)


def scale_of(patches: Tensor, target: Target) -> Scale:
    """Mean and variance of patches (B, M, P, C), channel by channel, and what is made of them.

    Source: He et al. 2022, arXiv:2111.06377, sec. 3 "Reconstruction target" (`normalised`). The variance is
    the unbiased one, as in the authors' code, so weights trained there give the same loss.
    """
    mean = patches.mean(dim=2, keepdim=True)
    variance = patches.var(dim=2, keepdim=True)
    if target.kind == "raw":
        return Scale(mean, variance, torch.zeros_like(mean), torch.ones_like(variance))
    return Scale(mean, variance, mean, (variance + target.variance_floor).sqrt())


def patch_mse(
    predicted: Tensor, patches: Tensor, scale: Scale | None = None, counted: Tensor | None = None
) -> Tensor:
    """Mean squared error of predicted hidden patches against the target made of the true ones.

    Source: He et al. 2022, arXiv:2111.06377, sec. 3.

    Args:
        predicted: (B, M, P * C), as the decoder gives them.
        patches: (B, M, P, C), or (B, M, P) of one channel, intensities in [0, 1].
        scale: What makes a target of them; standardised by default.
        counted: (B, M), bool; errors of the others are taken as 0. All by default.

    Returns:
        Scalar, the mean over all patches.

    Raises:
        GeometryError: If the shapes disagree.
    """
    if predicted.shape != patches.flatten(2).shape:
        raise GeometryError(
            f"predicted patches {tuple(predicted.shape)} and true ones {tuple(patches.shape)} must agree"
        )
    scale = scale or scale_of(patches, Target())
    difference = predicted - ((patches - scale.centre) / scale.deviation).flatten(2)
    if counted is not None:
        difference = difference * counted[..., None]
    return difference.square().mean()


def which_count(part: Part, padded: Tensor, patch: Triple, target: Target) -> Tensor:
    """Which hidden patches (B, M) count: those that vary enough, and where it matters lie in the scan.

    Args:
        part: Crops; what of them counts so far.
        padded: (B, L), bool, tokens that reach out of the scan.
        patch: Voxels of one.
        target: What is asked of a patch.
    """
    counted = part.counted
    if not target.padded:
        counted = counted & ~padded.gather(1, part.hidden)
    if target.least_variance:
        patches = hidden_patches(part.crops, part.hidden, patch, target)
        counted = counted & (patches.var(dim=2) >= target.least_variance).any(dim=-1)
    return counted


def errors(predicted: Tensor, part: Part, nesting: Nesting, level: int) -> Errors:
    """What is predicted (B, M, P * C) of crops of a level against the truth, and what needs no learning."""
    patch, target = nesting.patch, nesting.levels[level].target
    patches = hidden_patches(part.crops, part.hidden, patch, target)
    scale = scale_of(patches, target)
    mse = patch_mse(predicted, patches, scale, part.counted)
    return Errors(mse, *obvious_errors(part, patch, target, scale))


def obvious_errors(part: Part, patch: Triple, target: Target, scale: Scale) -> tuple[Tensor, Tensor]:
    """Mean squared errors of each patch's own mean, and of interpolation, in the space of the target.

    The interpolation is constant in blocks, so that its error follows from the blocks' means: the variance of
    voxels in their block, which is the patch's less that of its blocks, and the error of the blocks. A
    normalised target leaves next to nothing of a flat patch, and any interpolation would be far off: the
    patch's mean, which costs nothing there, counts where it is closer.
    """
    count = math.prod(patch)
    blocks, filled = (
        low_passed(cubes, max(target.low_pass // BLOCK, 1)).flatten(2, 4)  # (B, M, blocks, C)
        for cubes in hidden_blocks(part.crops, part.masked, part.hidden, patch)
    )
    if target.kind == "normalised":  # its target says nothing of the mean, so that any mean will do
        filled = filled - filled.mean(dim=2, keepdim=True) + scale.mean
    of_mean = scale.variance[:, :, 0] * ((count - 1) / count)  # (B, M, C)
    within = of_mean - blocks.var(dim=2, correction=0)
    interpolated = within + (blocks - filled).square().mean(dim=2)
    if target.kind == "normalised":
        interpolated = torch.minimum(interpolated, of_mean)
    weight = part.counted[..., None] / scale.deviation[:, :, 0].square()
    return (of_mean * weight).mean(), (interpolated * weight).mean()
