"""Several networks on one scan: the mean of their probabilities.

Shapes: O outputs (see `decide`); U V the two axes across the sweep.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mim3d.inference.window import Plane

LEAST = 1e-7
"""Probability below which the logarithm of a mean is not followed."""


def probabilities(logits: Tensor, overlapping: bool) -> Tensor:
    """Of the outputs of logits (O, ...): each for itself where structures overlap, else they add up to 1."""
    return logits.sigmoid() if overlapping else logits.softmax(dim=0)


def together(members: Sequence[Iterator[Plane]], overlapping: bool) -> Iterator[Plane]:
    """Planes of logits of the mean probability of all members; those of a single one as they are.

    What comes after treats them as logits: it decides and interpolates as for one network.

    Args:
        members: Planes of each, of the same volume in the same order.
        overlapping: Whether structures may share voxels.
    """
    if len(members) == 1:
        yield from members[0]
        return
    for planes in zip(*members, strict=True):
        total = torch.stack([probabilities(logits, overlapping) for _, logits in planes]).mean(dim=0)
        yield planes[0][0], total.logit(LEAST) if overlapping else total.clamp(min=LEAST).log()
