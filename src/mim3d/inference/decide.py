"""From logits to label values: which structure each voxel belongs to.

Shapes: S structures, O outputs (S where structures overlap, else 1 + S with the background first).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def decide(logits: Tensor, overlapping: bool) -> NDArray[Any]:
    """The value of each voxel: 0 is background, 1, 2, ... are structures.

    Where structures exclude one another, the highest logit wins. Where they overlap, a structure is where its
    logit is above 0, a probability of one half, and is painted over those before it.

    Args:
        logits: (O, ...), on the CPU.
        overlapping: Whether structures may share voxels.

    Returns:
        (...), uint8, or uint16 above 255 structures.
    """
    kind = np.uint8 if len(logits) - (not overlapping) <= 255 else np.uint16
    if not overlapping:
        return logits.argmax(dim=0).numpy().astype(kind)
    found = torch.zeros(logits.shape[1:], dtype=torch.int32)
    for value, of_structure in enumerate(logits, start=1):
        found.masked_fill_(of_structure > 0, value)
    return found.numpy().astype(kind)
