"""A linear layer on the maps of a frozen encoder, voxel by voxel: what its features alone can segment.

The maps of all stages are used, each voxel's channels normalised, and interpolated linearly to the
voxels of the crop. Interpolation and a 1x1x1 convolution may change places: outputs are computed on the maps'
own grids, and enlarged afterwards.
Shapes: B batch, D channels of all maps together, O outputs, V voxels, X Y Z space.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.downstream.frozen import FrozenEncoder
from mim3d.downstream.logistic import Linear


class LinearProbe(nn.Module):
    """A frozen encoder, and what a linear layer has learnt of its features."""

    def __init__(self, encoder: FrozenEncoder, learnt: Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.weight = nn.Parameter(learnt.weight, requires_grad=False)
        self.bias = nn.Parameter(learnt.bias, requires_grad=False)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) intensities in [0, 1] to logits (B, O, X, Y, Z)."""
        maps = normalised_maps(self.encoder, volume)
        weights = torch.split(self.weight, [features.shape[1] for features in maps], dim=1)
        logits = self.bias[None, :, None, None, None]
        for features, weight in zip(maps, weights, strict=True):
            coarse = torch.einsum("oc,bcxyz->boxyz", weight, features)
            logits = logits + F.interpolate(coarse, volume.shape[2:], mode="trilinear", align_corners=False)
        return logits


def normalised_maps(encoder: FrozenEncoder, volume: Tensor) -> list[Tensor]:
    """The maps (B, C_i, X_i, Y_i, Z_i) of a volume, each voxel's channels at mean 0 and variance 1."""
    maps = []
    for features in encoder.features(volume):
        last = features.movedim(1, -1)
        maps.append(F.layer_norm(last, last.shape[-1:]).movedim(-1, 1))
    return maps


def features_at(maps: Sequence[Tensor], voxels: Tensor, size: Sequence[int]) -> Tensor:
    """Features (V, D) of voxels (V, 3) of a crop of `size` voxels, from its maps (1, C_i, X_i, Y_i, Z_i)."""
    places = (voxels + 0.5) / torch.tensor(size) * 2 - 1  # (V, 3), from -1 to 1 over the crop
    grid = places.flip(-1)[None, :, None, None].to(maps[0])  # (1, V, 1, 1, 3), Z first
    found = [F.grid_sample(one, grid, padding_mode="border", align_corners=False) for one in maps]
    return torch.cat([one[0, :, :, 0, 0].T for one in found], dim=1)
