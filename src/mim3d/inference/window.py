"""A window slides over a volume; planes of logits come out one by one, once no window will touch them again.

Held are the planes under the present row of windows: as many as a crop has along the axis of the sweep, never
the whole volume. What is added up there is what the network's last, linear layer is given, where that is less
than what it makes: the layer then works once a voxel, on the mean over the windows.

Shapes: B batch, C channels, F values of a voxel that are averaged, O outputs (see `decide`), X Y Z space; U V
the two axes across the sweep, in ascending order.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from mim3d.config.prediction import Blend
from mim3d.errors import ConfigError
from mim3d.geometry import Triple
from mim3d.inference.crops import Network, infer
from mim3d.inference.head import Head

Read = Callable[[Triple, Triple], Tensor]
"""Start and size (voxels, wholly inside the volume) to intensities (C, X, Y, Z), float32 in [0, 1]."""
Progress = Callable[[int, int], None]
"""Told how many windows, volumes, crops or cases are done, and of how many."""
Plane = tuple[int, Tensor]
"""Where on the axis of the sweep, voxels, and the logits there (O, U, V), float32 on the CPU."""

SIGMA = 0.125
"""Width of the Gaussian that weights a window's logits, share of the crop."""
LEAST_WEIGHT = 1e-3
"""Weight of the outermost voxels of a window, where the Gaussian is lower; its peak is 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """Where the windows of a volume lie; one smaller than the crop is padded with 0 (air) on both sides."""

    shape: Triple
    """Of the volume, voxels."""
    crop: Triple
    """Of a window, voxels."""
    overlap: float = 0.5
    """Share of a window that its neighbour covers at least, 0 <= overlap < 1."""
    blend: Blend = "gaussian"
    batch_size: int = 1
    """Windows that go through the network at once, on a CPU in each thread."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap must lie in [0, 1), got {self.overlap}")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")

    @property
    def axis(self) -> int:
        """Axis of the sweep: the one that leaves the least to hold."""
        return max(range(3), key=lambda axis: self.shape[axis] / self.crop[axis])

    @property
    def before(self) -> Triple:
        """Padding in front of the volume, voxels."""
        x, y, z = (max(crop - size, 0) // 2 for size, crop in zip(self.shape, self.crop, strict=True))
        return (x, y, z)

    def starts(self, axis: int) -> list[int]:
        """First voxel of each window along one axis, evenly spread over the padded volume."""
        crop = self.crop[axis]
        room = max(self.shape[axis] - crop, 0)
        steps = math.ceil(room / max(int(crop * (1 - self.overlap)), 1))
        return [round(room * step / steps) for step in range(steps + 1)] if steps else [0]

    def weights(self) -> Tensor:
        """Weight of each voxel (X, Y, Z) of a window."""
        return gaussian(self.crop) if self.blend == "gaussian" else torch.ones(self.crop)


@dataclass(frozen=True, eq=False, slots=True)
class _Sum:
    """One plane in the making."""

    values: Tensor
    """(U, V, F), weighted."""
    weights: Tensor
    """(U, V, 1)."""


def sweep(
    network: Network,
    read: Read,
    windows: Windows,
    *,
    head: Head | None = None,
    device: str = "cpu",
    on_windows: Progress | None = None,
) -> Iterator[Plane]:
    """Logits of the whole volume, averaged over the windows, plane by plane.

    Args:
        network: In evaluation mode, on `device`; crops to what `head` is given, or to logits.
        read: Called once per window.
        windows: Where to look; its `axis` is the one of the sweep.
        head: The network's last layer, if it is apart; on the CPU.
        device: Where the network runs; the sums stay on the CPU.
        on_windows: Called after every batch.
    """
    axis = windows.axis
    starts, first = windows.starts(axis), windows.before[axis]
    others = list(product(*(windows.starts(other) for other in _across(axis))))
    weights = windows.weights().movedim(axis, 0)[..., None]  # (planes, U, V, 1)
    predict = infer(network, windows.batch_size, device)
    sums: deque[_Sum] = deque()
    for row, start in enumerate(starts):
        corners = [(*other[:axis], start, *other[axis:]) for other in others]
        for begin in range(0, len(corners), predict.at_once):
            batch = corners[begin : begin + predict.at_once]
            found = predict([_read_padded(read, windows, corner) for corner in batch])
            for corner, values in zip(batch, found, strict=True):
                _add(sums, values, weights, corner, windows)
            if on_windows is not None:
                on_windows(row * len(others) + begin + len(batch), len(starts) * len(others))
        end = starts[row + 1] if row + 1 < len(starts) else start + windows.crop[axis]
        for place in range(start - first, end - first):
            finished = sums.popleft()
            if 0 <= place < windows.shape[axis]:
                yield place, _average(finished, windows, head)


def gaussian(crop: Triple) -> Tensor:
    """Weight of each voxel (X, Y, Z) of a window: 1 at its centre, falling off towards its faces.

    Source: Isensee et al. 2021, Nature Methods 18, nnU-Net's inference; width as there.
    """
    x, y, z = (_bell(size) for size in crop)
    return torch.einsum("x,y,z->xyz", x, y, z).clamp(min=LEAST_WEIGHT)


def _bell(size: int) -> Tensor:
    places = torch.arange(size, dtype=torch.float32) - (size - 1) / 2  # (size,)
    return torch.exp(-0.5 * (places / (SIGMA * size)) ** 2)


def _across(axis: int) -> tuple[int, int]:
    u, v = (other for other in range(3) if other != axis)
    return (u, v)


def _read_padded(read: Read, windows: Windows, corner: tuple[int, ...]) -> Tensor:
    """One crop (C, X, Y, Z), with 0 where it lies outside the volume."""
    low = [c - b for c, b in zip(corner, windows.before, strict=True)]
    start = [max(a, 0) for a in low]
    stop = [min(a + c, n) for a, c, n in zip(low, windows.crop, windows.shape, strict=True)]
    size = [b - a for a, b in zip(start, stop, strict=True)]
    inside = read((start[0], start[1], start[2]), (size[0], size[1], size[2]))
    if tuple(size) == windows.crop:
        return inside
    sides = [
        (s - a, a + c - b) for s, a, c, b in zip(start, low, windows.crop, stop, strict=True)
    ]  # voxels missing in front and behind, per axis
    return functional.pad(inside, [n for pair in reversed(sides) for n in pair])


def _add(
    sums: deque[_Sum], values: Tensor, weights: Tensor, corner: tuple[int, ...], windows: Windows
) -> None:
    """Add what a window (F, X, Y, Z) says to the planes under it, making those that are new."""
    axis = windows.axis
    (u, v) = _across(axis)
    shape = [max(n, c) for n, c in zip(windows.shape, windows.crop, strict=True)]
    while len(sums) < windows.crop[axis]:
        sums.append(_Sum(torch.zeros(shape[u], shape[v], len(values)), torch.zeros(shape[u], shape[v], 1)))
    place = (slice(corner[u], corner[u] + windows.crop[u]), slice(corner[v], corner[v] + windows.crop[v]))
    rows = values.movedim(axis + 1, 0).movedim(1, -1).contiguous()  # (planes, U, V, F)
    for plane, some, weight in zip(sums, rows, weights, strict=True):
        plane.values[place].addcmul_(some, weight)
        plane.weights[place].add_(weight)


def _average(plane: _Sum, windows: Windows, head: Head | None) -> Tensor:
    """Logits (O, U, V) of a finished plane, without padding."""
    u, v = (slice(windows.before[a], windows.before[a] + windows.shape[a]) for a in _across(windows.axis))
    mean = plane.values[u, v] / plane.weights[u, v]
    return (mean if head is None else head(mean)).movedim(-1, 0)
