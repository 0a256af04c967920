"""Sizes of the network."""

import math
from dataclasses import dataclass

from mim3d.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """Sizes of the hybrid backbone and its decoder; the defaults are the paper's base size."""

    channels: int = 1
    """Input channels; the scans in a store have 1."""
    dims: tuple[int, int, int, int] = (48, 96, 192, 384)
    """Channels of the three convolution stages and of the transformer."""
    depths: tuple[int, int, int, int] = (2, 2, 2, 11)
    """Blocks of the three convolution stages and of the transformer."""
    num_heads: int = 12
    """Attention heads of the encoder."""
    mlp_ratio: int = 4
    """Hidden channels of each MLP over its input channels."""
    decoder_dim: int = 576
    """Channels of the decoder."""
    decoder_depth: int = 8
    """Transformer blocks of the decoder."""
    decoder_heads: int = 16
    """Attention heads of the decoder."""
    embedded_levels: int = 0
    """Levels told apart by a learnt code on their tokens, 0: by none; downstream tasks get its mean."""

    def __post_init__(self) -> None:
        sizes = (self.channels, *self.dims, self.mlp_ratio, self.decoder_dim)
        if (
            min(*sizes, self.num_heads, self.decoder_heads) < 1
            or min(*self.depths, self.decoder_depth, self.embedded_levels) < 0
        ):
            raise ConfigError(
                f"channels and heads must be at least 1, depths and embedded_levels at least 0, got {self}"
            )
        for name, dim, heads in (
            ("dims[3]", self.dims[3], self.num_heads),
            ("decoder_dim", self.decoder_dim, self.decoder_heads),
        ):
            if dim % heads or dim % 6:
                both = math.lcm(heads, 6)
                raise ConfigError(
                    f"{name} must divide by its {heads} heads and by 6 (position codes), got {dim}; "
                    f"take a multiple of {both}"
                )
