"""The decoder: latents of visible tokens in, features and voxels of every token out.

Shapes: B batch, L tokens of a crop, K visible tokens, C encoder channels, D decoder channels, P voxels
per patch.
Source: He et al. 2022, arXiv:2111.06377, sec. 3.
"""

import math

import torch
from torch import Tensor, nn

from mim3d.config import Architecture
from mim3d.geometry import Triple
from mim3d.model.blocks import Block, init_weights, sincos_3d
from mim3d.model.level_code import LevelCode
from mim3d.model.linear import Linear
from mim3d.model.patches import take_tokens


class Decoder(nn.Module):
    """A plain transformer over all tokens; hidden ones begin as a learnt mask token."""

    position: Tensor

    def __init__(self, grid: Triple, patch: Triple, architecture: Architecture) -> None:
        super().__init__()
        dim = architecture.decoder_dim
        self.grid = grid
        self.embed = Linear(architecture.dims[3], dim)
        self.mask_token = nn.Parameter(torch.empty(dim).normal_(std=0.02))
        self.blocks = nn.ModuleList(
            Block(dim, architecture.decoder_heads, architecture.mlp_ratio)
            for _ in range(architecture.decoder_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.predict = Linear(dim, math.prod(patch) * architecture.channels)
        self.register_buffer("position", sincos_3d(grid, dim), persistent=False)
        self.apply(init_weights)
        self.level_code = LevelCode(architecture.embedded_levels, dim)

    def forward(self, latents: Tensor, visible: Tensor, level: int | None = None) -> Tensor:
        """Predict (B, L, P) from latents (B, K, C) at token index (B, K), of crops of a level."""
        predicted: Tensor = self.predict(self.features(latents, visible, level))
        return predicted

    def features(
        self, latents: Tensor, visible: Tensor, level: int | None = None, wanted: Tensor | None = None
    ) -> Tensor:
        """Features of every token, (B, L, D), or of some.

        Args:
            latents: (B, K, C).
            visible: (B, K), which tokens they are of; K may be 0.
            level: Which one the crops are of; None if of none.
            wanted: (B, M), tokens to give; the last block is computed for them alone. None: all.

        Returns:
            (B, L, D), or (B, M, D) in the order of `wanted`.
        """
        shown = self.embed(latents)  # (B, K, D)
        batch, count = visible.shape[0], math.prod(self.grid)
        tokens = self.mask_token.to(shown.dtype).expand(batch, count, -1)  # (B, L, D)
        tokens = tokens.scatter(1, visible[..., None].expand_as(shown), shown)
        tokens = self.level_code(tokens + self.position, level)
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, wanted if number == len(self.blocks) else None)
        if wanted is not None and not self.blocks:
            tokens = take_tokens(tokens, wanted)
        features: Tensor = self.norm(tokens)
        return features
