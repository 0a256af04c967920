"""MiM, Mask in Mask: one encoder and one decoder for the crops of every level.

Shapes: B crops, L tokens of a crop, K visible tokens, M hidden tokens, C encoder channels,
D decoder channels, P voxels per patch.
Source: Zhuang et al. 2025, arXiv:2404.15580.
"""

from typing import NamedTuple

from torch import Tensor, nn

from mim3d.config import Architecture, Nesting
from mim3d.model.blocks import init_weights
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder
from mim3d.model.patches import take_tokens


class Output(NamedTuple):
    """What the model makes of the crops of one level; a tuple, as the distributed engine looks inside."""

    predicted: Tensor
    """(B, M, P), voxels of the hidden tokens."""
    features: Tensor
    """(B, L, D), decoder features of all tokens: the places a child can be aligned with."""
    foreseen: Tensor | None
    """(B, D), where each crop expects its place among its parent's features; None without alignment."""


class Mim(nn.Module):
    """The encoder, the decoder, and a predictor from a child's latents to its place in the parent."""

    def __init__(self, nesting: Nesting, architecture: Architecture, *, align: bool) -> None:
        super().__init__()
        self.encoder = Encoder(nesting.patch, architecture)
        self.decoder = Decoder(nesting.grid, nesting.patch, architecture)
        self.predictor = Predictor(architecture.dims[3], architecture.decoder_dim) if align else None

    def forward(self, crops: Tensor, visible: Tensor, hidden: Tensor) -> Output:
        """Encode what is visible, decode everything, predict what is hidden.

        Args:
            crops: (B, C, X, Y, Z), intensities in [0, 1].
            visible: (B, K), tokens that the encoder sees.
            hidden: (B, M), the other tokens.
        """
        latents = self.encoder(crops, visible)  # (B, K, C)
        features = self.decoder.features(latents, visible)  # (B, L, D)
        predicted = self.decoder.predict(take_tokens(features, hidden))  # (B, M, P)
        foreseen = None if self.predictor is None else self.predictor(latents.mean(dim=1))
        return Output(predicted, features, foreseen)


class Predictor(nn.Module):
    """From a crop's mean latent to the decoder feature of the place it was cut from."""

    def __init__(self, dim: int, decoder_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, decoder_dim),
            nn.LayerNorm(decoder_dim),
            nn.GELU(),
            nn.Linear(decoder_dim, decoder_dim),
        )
        self.apply(init_weights)

    def forward(self, latent: Tensor) -> Tensor:
        """(B, C) to (B, D)."""
        foreseen: Tensor = self.layers(latent)
        return foreseen
