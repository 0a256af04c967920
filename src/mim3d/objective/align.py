"""Alignment: a child foresees its place among the features of its parent.

Shapes: B child crops, L tokens, D decoder channels, cells: all cells of a parent crop.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from mim3d.config import Alignment
from mim3d.geometry import Triple


def pool_cells(features: Tensor, cells: Triple, cell: Triple) -> Tensor:
    """Mean feature of every cell: (B, L, D) to (B, cells, D), cells in raster order."""
    batch, _, dim = features.shape
    (nx, ny, nz), (cx, cy, cz) = cells, cell
    blocks = features.reshape(batch, nx, cx, ny, cy, nz, cz, dim)
    return blocks.mean(dim=(2, 4, 6)).reshape(batch, nx * ny * nz, dim)


def align(foreseen: Tensor, places: Tensor, cell: Tensor, alignment: Alignment) -> Tensor:
    """How badly each child finds the cell that it was cut from among the cells of its own parent.

    Source: van den Oord et al. 2018, arXiv:1807.03748, sec. 2.3 (`info_nce`), with the other places of the
    same parent as negatives only; Grill et al. 2020, arXiv:2006.07733, eq. 2 (`cosine`).

    Args:
        foreseen: (B, D), the child's prediction of its place's feature.
        places: (B, cells, D), the features of its parent's cells; no gradient reaches them.
        cell: (B,), the cell it was cut from.
        alignment: Kind and temperature.

    Returns:
        (B,), one value a child.
    """
    query = F.normalize(foreseen, dim=-1)[:, None]  # (B, 1, D)
    similarity = (query * F.normalize(places.detach(), dim=-1)).sum(dim=-1)  # (B, cells)
    if alignment.loss == "cosine":
        return 2 - 2 * similarity[torch.arange(len(cell), device=cell.device), cell]
    return F.cross_entropy(similarity / alignment.temperature, cell, reduction="none")
