"""Stochastic depth: while a network learns, some of its blocks are left out for some of the crops.

Shapes: B crops of a batch.
"""

import torch
from torch import Tensor


def drop_rates(most: float, depth: int) -> list[float]:
    """Chance of each of `depth` blocks to be left out, from 0 for the first to `most` for the last.

    Source: Huang et al. 2016, arXiv:1603.09382, sec. 3, linear decay; there the first has `most` / `depth`.
    """
    return [most * block / max(depth - 1, 1) for block in range(depth)]


def drop_path(out: Tensor, into: Tensor, rate: float, crops: int) -> Tensor:
    """A block's output, or for some crops its input: what the block adds is 0 there, and more elsewhere.

    So that the expectation stays the same, what it adds elsewhere is divided by the chance to be kept.
    Source: Huang et al. 2016, arXiv:1603.09382, sec. 3, for whole blocks; scaled while learning, not after.

    Args:
        out: (B * K, ...), crop-major.
        into: The same shape.
        rate: Chance to be left out, 0 <= rate < 1; at 0 nothing is drawn.
        crops: B.
    """
    if rate == 0:
        return out
    kept = (torch.rand(crops, device=out.device) >= rate).to(out.dtype) / (1 - rate)  # (B,)
    share = kept.repeat_interleave(len(out) // crops).view(-1, *(1,) * (out.ndim - 1))
    return torch.lerp(into, out, share)
