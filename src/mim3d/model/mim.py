"""MiM, Mask in Mask: one encoder and one decoder for the crops of every level.

Shapes: B crops, L tokens of a crop, K visible tokens, M hidden tokens, n cells that children were cut from,
C encoder channels, D channels of what is foreseen, P voxels per patch times input channels.
Source: Zhuang et al. 2025, arXiv:2404.15580.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mim3d.config import Alignment, Architecture, Nesting
from mim3d.model.blocks import init_weights
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder
from mim3d.model.patches import pool_cells, take_tokens
from mim3d.model.teacher import Teacher


class Output(NamedTuple):
    """What the model makes of the crops of one level; a tuple, as the distributed engine looks inside."""

    predicted: Tensor
    """(B, M, P), what is predicted of the hidden tokens."""
    features: Tensor
    """(B, L, D), decoder features of all tokens; on the innermost level (B, M, D), of the hidden ones; those
    to be foreseen, where only they were asked for."""
    foreseen: Tensor | None
    """(B, D), where each crop expects its place among its parent's features; or (B, n, D), what each crop
    expects of its children; None without alignment."""


class Mim(nn.Module):
    """The encoder, the decoder, and where levels are aligned a predictor, and a teacher if asked for."""

    def __init__(
        self, nesting: Nesting, architecture: Architecture, alignment: Alignment | None = None
    ) -> None:
        super().__init__()
        self.nesting = nesting
        self.encoder = Encoder(nesting.patch, architecture)
        self.decoder = Decoder(nesting.grid, nesting.patch, architecture)
        self.predictor: Predictor | None = None
        self.teacher: Teacher | None = None
        self.alignment = alignment
        if alignment is None or not alignment.weight or len(nesting.levels) == 1:
            return
        dims = {"encoder": architecture.dims[3], "decoder": architecture.decoder_dim}
        seen = dims["encoder"] if alignment.predicts == "child" else dims["decoder"]
        self.predictor = Predictor(seen, dims[alignment.features])
        if alignment.momentum:
            self.teacher = Teacher(self.encoder, self.decoder, alignment.momentum)

    def forward(
        self,
        crops: Tensor,
        visible: Tensor,
        hidden: Tensor | None,
        level: int = 0,
        cells: Tensor | None = None,
    ) -> Output:
        """Encode what is visible, decode everything, predict what is hidden.

        Args:
            crops: (B, C, X, Y, Z), intensities in [0, 1].
            visible: (B, K), tokens that the encoder sees; K may be 0.
            hidden: (B, M), the other tokens. None: nothing is predicted or foreseen, and `features` are those
                that others are to foresee, without gradient, from the teacher if there is one.
            level: Which one the crops are of.
            cells: (B, n), raster numbers of the cells that children were cut from, where parents predict.
        """
        if hidden is None:
            features = self._to_foresee(crops, visible, level)  # (B, L, D)
            return Output(features[:, :0], features, None)
        latents = self.encoder(crops, visible, level)  # (B, K, C)
        innermost = level == len(self.nesting.levels) - 1
        features = self.decoder.features(latents, visible, level, hidden if innermost else None)
        shown = features if innermost else take_tokens(features, hidden)  # (B, M, D)
        predicted = self.decoder.predict(shown)  # (B, M, P)
        return Output(predicted, features, self._foresee(latents, features, level, cells))

    def follow(self) -> None:
        """Have the teacher, if there is one, follow: once a step, before anything is computed."""
        if self.teacher is not None:
            self.teacher.follow(self.encoder, self.decoder)

    def _foresee(self, latents: Tensor, features: Tensor, level: int, cells: Tensor | None) -> Tensor | None:
        if self.predictor is None or self.alignment is None:
            return None
        if self.alignment.predicts == "child":
            known: Tensor | None = latents.mean(dim=1)  # (B, C)
        elif cells is None:
            known = None
        elif cells.shape[1] == 0:  # no children: the innermost level
            known = features[:, :0]
        else:
            pooled = pool_cells(features, self.nesting.cells(level), self.nesting.levels[level].cell)
            known = take_tokens(pooled, cells)  # (B, n, C)
        return None if known is None else self.predictor(known)

    @torch.no_grad()
    def _to_foresee(self, crops: Tensor, visible: Tensor, level: int) -> Tensor:
        assert self.alignment is not None
        network = self if self.teacher is None else self.teacher
        if self.alignment.features == "encoder":
            everything = torch.arange(math.prod(self.nesting.grid), device=crops.device)
            latents: Tensor = network.encoder(crops, everything.expand(len(crops), -1), level)  # (B, L, C)
            return latents
        return network.decoder.features(network.encoder(crops, visible, level), visible, level)


class Predictor(nn.Module):
    """From what one side knows to what it expects of the other."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim_in, dim), nn.LayerNorm(dim), nn.GELU(), nn.Linear(dim, dim))
        self.apply(init_weights)

    def forward(self, known: Tensor) -> Tensor:
        """(..., C) to (..., D)."""
        foreseen: Tensor = self.layers(known)
        return foreseen
