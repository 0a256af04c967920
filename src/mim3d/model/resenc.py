"""A U-Net with a residual encoder, of nnU-Net's shape, to compare other networks with.

As nnU-Net's `ResEnc` it has up to six stages of 1, 3, 4, 6, 6 and 6 residual blocks, of 32, 64, 128, 256, 320
and 320 channels, strides where an axis has 8 voxels or more, shortcuts that average, and one convolution a
stage on the way up. Unlike there, norms have no scale and offset, convolutions no bias, and the loss is
taken at full resolution alone (no deep supervision).

Shapes: B batch, C channels, O outputs, X Y Z space.
Source: Isensee et al. 2024, arXiv:2404.09556, sec. 2; Isensee et al. 2021, Nature Methods 18.
"""

import math
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from mim3d.geometry import Triple, divide_exactly
from mim3d.model.residual import PlainBlock, ResidualBlock, UpBlock

SMALLEST = 4
"""Voxels of an axis that strides leave at least."""
WIDEST = 10
"""Channels of the deepest stages over those of the first."""


def strides_of(crop: Triple, stages: int) -> list[Triple]:
    """Strides of the stages, at most so many: each axis is halved while it is even and keeps `SMALLEST`."""
    strides, side = [(1, 1, 1)], crop
    while len(strides) < stages:
        x, y, z = (2 if n % 2 == 0 and n // 2 >= SMALLEST else 1 for n in side)
        if (x, y, z) == (1, 1, 1):
            break
        strides.append((x, y, z))
        side = (side[0] // x, side[1] // y, side[2] // z)
    return strides


class ResencUnet(nn.Module):
    """Residual stages downwards, one convolution a stage upwards, each joined with the stage it came from."""

    def __init__(self, channels: int, outputs: int, width: int, blocks: Sequence[int], crop: Triple) -> None:
        """Make it with new weights.

        Args:
            channels: Of the input.
            outputs: Of the last layer.
            width: Channels of the first stage.
            blocks: Residual blocks of each stage; deeper stages than the crop allows are left out.
            crop: What it will be shown, voxels; other sizes must divide by the strides.
        """
        super().__init__()
        strides = strides_of(crop, len(blocks))
        x, y, z = (math.prod(sides) for sides in zip(*strides, strict=True))
        self.deepest: Triple = (x, y, z)  # voxels of one of the last stage's
        widths = [width * min(2**stage, WIDEST) for stage in range(len(strides))]
        self.stem = PlainBlock(channels, width)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(below, own, stride), *(ResidualBlock(own, own) for _ in range(count - 1))
            )
            for below, own, stride, count in zip((width, *widths), widths, strides, blocks, strict=False)
        )
        self.ups = nn.ModuleList(
            UpBlock(below, own, stride, PlainBlock)
            for below, own, stride in zip(widths[1:], widths[:-1], strides[1:], strict=True)
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) intensities in [0, 1] to logits (B, O, X, Y, Z)."""
        *skips, joined = self._encoded(volume)
        for up, skip in zip(reversed(self.ups), reversed(skips), strict=True):
            joined = up(joined, skip)
        logits: Tensor = self.head(joined).movedim(-1, 1)
        return logits

    def features(self, volume: Tensor) -> list[Tensor]:
        """Maps of the stages (B, C_i, X / s, Y / s, Z / s), at their strides.

        Raises:
            GeometryError: If a side of the volume is no multiple of the strides together.
        """
        x, y, z = volume.shape[2:]
        divide_exactly((x, y, z), self.deepest, "crop of resenc_unet")
        return [features.movedim(-1, 1) for features in self._encoded(volume)]

    def _encoded(self, volume: Tensor) -> list[Tensor]:
        """What each stage makes of a volume (B, C, X, Y, Z), channels last."""
        maps = [self.stem(volume.movedim(1, -1))]  # (B, X, Y, Z, C)
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]

    def layers(self) -> list[list[nn.Module]]:
        """Modules of the encoder, stage by stage; the stem belongs to the first."""
        first, *others = cast("list[nn.Module]", list(self.stages))
        return [[self.stem, first], *([stage] for stage in others)]
