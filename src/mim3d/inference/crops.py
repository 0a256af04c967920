"""Crops through a network, as many at once as there are threads; those without content only once.

On a CPU each thread takes crops of its own and computes them alone: threads that share every operation wait
for one another after each. What comes out does not depend on the number of threads.

Shapes: B batch, C channels, F values of a voxel that come out, X Y Z space.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from mim3d.threads import run_apart

Network = Callable[[Tensor], Tensor]
"""Crops (B, C, X, Y, Z) to what there is of each voxel (B, F, X, Y, Z)."""


@dataclass(eq=False, slots=True)
class Inference:
    """A network that takes some crops at a time."""

    network: Network
    batch_size: int
    device: str
    threads: int
    uniform: dict[tuple[float, ...], Tensor] = field(default_factory=dict)
    """What became of the last crop that was the same everywhere, by its value in each channel."""

    @property
    def at_once(self) -> int:
        """Crops that it takes at a time."""
        return self.batch_size * self.threads

    def __call__(self, crops: Sequence[Tensor]) -> list[Tensor]:
        """Crops (C, X, Y, Z) to what there is of each voxel, (F, X, Y, Z), float32 on the CPU.

        A crop that is the same everywhere, as air is once it is clipped, gives what the last one of its kind
        gave, without being computed again.
        """
        kinds = [_uniform(crop) for crop in crops]
        known = [None if kind is None else self.uniform.get(kind) for kind in kinds]
        computed = iter(self._computed([c for c, k in zip(crops, known, strict=True) if k is None]))
        found = [next(computed) if values is None else values for values in known]
        self.uniform = next(({k: v} for k, v in zip(kinds, found, strict=True) if k), self.uniform)
        return found

    def _computed(self, crops: Sequence[Tensor]) -> list[Tensor]:
        groups = [crops[begin : begin + self.batch_size] for begin in range(0, len(crops), self.batch_size)]
        jobs = [partial(self._group, group) for group in groups]
        apart = run_apart(jobs) if len(jobs) > 1 else [job() for job in jobs]
        return [values for group in apart for values in group]

    def _group(self, crops: Sequence[Tensor]) -> list[Tensor]:
        with torch.inference_mode():
            values = self.network(torch.stack(list(crops)).to(self.device))  # (B, F, X, Y, Z)
            return list(values.float().cpu())


def infer(network: Network, batch_size: int, device: str) -> Inference:
    """The network, in evaluation mode, ready to take crops: on a CPU one batch a thread."""
    threads = torch.get_num_threads() if torch.device(device).type == "cpu" else 1
    return Inference(network, batch_size, device, threads)


def mirrored(network: Network, axes: Sequence[int]) -> Network:
    """The network's mean over a crop and its mirror images along all of the axes and their combinations."""
    if not axes:
        return network

    def mean(crops: Tensor) -> Tensor:
        total: Tensor | None = None
        for number in range(2 ** len(axes)):
            along = [axis + 2 for place, axis in enumerate(axes) if number >> place & 1]
            values = network(crops.flip(along)).flip(along)
            total = values if total is None else total + values
        assert total is not None
        return torch.div(total, 2 ** len(axes))

    return mean


def _uniform(crop: Tensor) -> tuple[float, ...] | None:
    """The value of each channel of a crop (C, X, Y, Z) that is the same everywhere; None for others."""
    low, high = crop.flatten(1).aminmax(dim=1)
    return tuple(low.tolist()) if torch.equal(low, high) else None
