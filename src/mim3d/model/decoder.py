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


class Decoder(nn.Module):
    """A plain transformer over all tokens; hidden ones begin as a learnt mask token."""

    position: Tensor

    def __init__(self, grid: Triple, patch: Triple, architecture: Architecture) -> None:
        super().__init__()
        dim = architecture.decoder_dim
        self.grid = grid
        self.embed = nn.Linear(architecture.dims[3], dim)
        self.mask_token = nn.Parameter(torch.empty(dim).normal_(std=0.02))
        self.blocks = nn.ModuleList(
            Block(dim, architecture.decoder_heads, architecture.mlp_ratio)
            for _ in range(architecture.decoder_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.predict = nn.Linear(dim, math.prod(patch) * architecture.channels)
        self.register_buffer("position", sincos_3d(grid, dim), persistent=False)
        self.apply(init_weights)

    def forward(self, latents: Tensor, visible: Tensor) -> Tensor:
        """Predict (B, L, P) from latents (B, K, C) at token index (B, K)."""
        predicted: Tensor = self.predict(self.features(latents, visible))
        return predicted

    def features(self, latents: Tensor, visible: Tensor) -> Tensor:
        """Features (B, L, D) of every token, from latents (B, K, C) at token index (B, K)."""
        shown = self.embed(latents)  # (B, K, D)
        batch, count = visible.shape[0], math.prod(self.grid)
        tokens = self.mask_token.to(shown.dtype).expand(batch, count, -1)  # (B, L, D)
        tokens = tokens.scatter(1, visible[..., None].expand_as(shown), shown)
        tokens = tokens + self.position
        for block in self.blocks:
            tokens = block(tokens)
        features: Tensor = self.norm(tokens)
        return features
