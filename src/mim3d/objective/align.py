"""Alignment: finding the true one among the features of adjacent levels.

Shapes: Q queries, N keys (the candidates), D channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mim3d.config import Alignment


class Aligned(NamedTuple):
    """How well each query found its key."""

    loss: Tensor
    """(Q,), with gradient into the queries only."""
    found: Tensor
    """(Q,), bool: whether no other candidate is more similar than the true one."""


def align(queries: Tensor, keys: Tensor, own: Tensor, allowed: Tensor, alignment: Alignment) -> Aligned:
    """How badly each query finds its own key among those that it is allowed to look at.

    Source: van den Oord et al. 2018, arXiv:1807.03748, sec. 2.3 (`info_nce`); Grill et al. 2020,
    arXiv:2006.07733, eq. 2 (`cosine`).

    Args:
        queries: (Q, D), what is foreseen.
        keys: (N, D), what is there; no gradient reaches it.
        own: (Q,), row of each query's true key.
        allowed: (Q, N), bool, the candidates of each query, the true one among them.
        alignment: Kind and temperature.
    """
    similarity = F.normalize(queries.float(), dim=-1) @ F.normalize(keys.detach().float(), dim=-1).T  # (Q, N)
    own = own[:, None]
    true = similarity.gather(1, own)[:, 0]
    among = similarity.masked_fill(~allowed, -torch.inf)
    found = among.detach().argmax(dim=1) == own[:, 0]
    if alignment.loss == "cosine":
        return Aligned(2 - 2 * true, found)
    return Aligned(F.cross_entropy(among / alignment.temperature, own[:, 0], reduction="none"), found)
