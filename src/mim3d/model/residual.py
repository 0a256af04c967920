"""Residual blocks of convolutions on whole maps, channels last: what segmentation decoders are made of.

They compute what MONAI's `UnetResBlock` and `UnetrUpBlock` do, with instance norm: the same numbers up to
rounding, in less time on a CPU.

Shapes: B batch, C channels, X Y Z space.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.geometry import Triple
from mim3d.model.instance_norm import SLOPE, instance_norm
from mim3d.model.linear import onednn_suits


class Convolution(nn.Conv3d):
    """A convolution of 3x3x3 voxels with channels last, without bias."""

    def __init__(self, dim_in: int, dim: int, stride: Triple = (1, 1, 1)) -> None:
        super().__init__(dim_in, dim, 3, stride, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, X, Y, Z, C) to (B, X', Y', Z', C')."""
        first = maps.permute(0, 4, 1, 2, 3)  # (B, C, X, Y, Z), channels last in memory
        if not onednn_suits(first, self.weight):
            return super().forward(first).permute(0, 2, 3, 4, 1)
        # PyTorch itself would leave small maps on one thread to a loop that takes ten times as long
        shape = (self.padding, self.stride, self.dilation)
        found: Tensor = torch.ops.aten.mkldnn_convolution(first, self.weight, None, *shape, 1)
        return found.permute(0, 2, 3, 4, 1)


class PlainBlock(nn.Module):
    """A convolution with instance norm and leaky ReLU."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.conv = Convolution(dim_in, dim)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, X, Y, Z, C) to (B, X, Y, Z, C')."""
        return instance_norm(self.conv(maps), activate=True)


class ResidualBlock(nn.Module):
    """Two convolutions with instance norm and leaky ReLU, beside a shortcut.

    Source: He et al. 2016, arXiv:1512.03385, sec. 3; a shortcut over a stride averages (He et al. 2019,
    arXiv:1812.01187, sec. 4.1, ResNet-D).
    """

    def __init__(self, dim_in: int, dim: int, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = Convolution(dim_in, dim, stride)
        self.conv2 = Convolution(dim, dim)
        self.shortcut = nn.Linear(dim_in, dim, bias=False) if dim_in != dim else None  # thin: MKL is faster

    def forward(self, maps: Tensor) -> Tensor:
        """(B, X, Y, Z, C) to (B, X', Y', Z', C')."""
        inner = instance_norm(self.conv1(maps), activate=True)
        inner = instance_norm(self.conv2(inner), activate=False)
        return F.leaky_relu_(inner + self._around(maps), SLOPE)

    def _around(self, maps: Tensor) -> Tensor:
        if self.stride != (1, 1, 1):
            maps = F.avg_pool3d(maps.permute(0, 4, 1, 2, 3), self.stride).permute(0, 2, 3, 4, 1)
        return maps if self.shortcut is None else instance_norm(self.shortcut(maps), activate=False)


class UpBlock(nn.Module):
    """A map enlarged by a transposed convolution, joined with a skip by a block of convolutions.

    Source: Hatamizadeh et al. 2022, arXiv:2103.10504, sec. 3. Kernels are as large as strides, so that each
    voxel becomes a cell of its own.
    """

    def __init__(
        self, below: int, dim: int, stride: Triple, join: Callable[[int, int], nn.Module] = ResidualBlock
    ) -> None:
        super().__init__()
        self.stride = stride
        self.enlarge = nn.Linear(below, math.prod(stride) * dim, bias=False)
        self.block = join(2 * dim, dim)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """(B, x, y, z, C) and (B, X, Y, Z, C') to (B, X, Y, Z, C')."""
        x, y, z = maps.shape[1:4]
        cells = self.enlarge(maps).view(-1, x, y, z, *self.stride, skip.shape[-1])
        larger = cells.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(skip.shape)  # (B, X, Y, Z, C')
        out: Tensor = self.block(torch.cat([larger, skip], dim=-1))
        return out
