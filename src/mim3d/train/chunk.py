"""What an objective hands to the loop: a part of a batch's loss, still to be computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

Logged = dict[str, Tensor]
"""Scalars by name; those of one name are summed over a batch's chunks, so they come weighted."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a batch, small enough to go forward and backward at once.

    The forward pass is deferred, since distributed training must know before it, not only before the backward
    pass, whether gradients are synchronised afterwards.
    """

    compute: Callable[[nn.Module], tuple[Tensor, Logged]]
    """From the model to the loss, weighted by the chunk's share of the batch, and what is to be logged."""
    last: bool
    """Whether gradients are synchronised between devices after this chunk."""


Group = Sequence[Chunk]
"""Chunks that do not depend on each other, so that they may be computed side by side."""
