"""Channels of a scan on the working grid: set upright, then resampled. Arrays are (X, Y, Z)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mim3d.data.guard import require_working_grid
from mim3d.data.intensity import Quantised
from mim3d.data.resample import to_spacing
from mim3d.data.straighten import Straight, straight_grid, straightened
from mim3d.data.volume import Volume
from mim3d.geometry import Vector


@dataclass(frozen=True, eq=False)
class OnGrid:
    """The channels of a scan, and how they came onto the working grid."""

    grid: Straight
    """Of the scan, its axes at right angles."""
    straight: list[Volume]
    """The scan on that grid, in 16 bits."""
    working: list[Volume]
    """On the working grid, in 16 bits."""
    kept: list[Quantised]
    """The same with what a step stands for."""


def on_working_grid(volumes: Sequence[Volume], kept: Sequence[Quantised], target: Vector | None) -> OnGrid:
    """Bring the channels of a canonical scan onto a grid of `target` mm.

    Args:
        volumes: One grid for all, arrays of `kept`.
        kept: In 16 bits.
        target: Spacing, mm; None: the scan's own.

    Raises:
        DataError: If axes are too far from right angles, or the working grid would be too large.
    """
    grid = straight_grid(volumes[0])
    straight = [
        replace(
            volume,
            array=straightened(volume, grid, outside=one.padding / one.slope, order=1),
            affine=grid.affine,
        )
        for volume, one in zip(volumes, kept, strict=True)
    ]
    spacing = straight[0].spacing
    require_working_grid(straight[0].shape, spacing, target or spacing)
    working = [to_spacing(one, target or spacing) for one in straight]
    on_grid = [replace(one, array=volume.array) for one, volume in zip(kept, working, strict=True)]
    return OnGrid(grid, straight, working, on_grid)
