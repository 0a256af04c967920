"""Sizes of the network."""

from dataclasses import dataclass

from mim3d.config.checks import check_heads, require


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """Sizes of the hybrid backbone and its decoder; the defaults are the paper's base size."""

    channels: int = 1
    """Input channels: as many as the cases of the store have."""
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
        for name in ("channels", "num_heads", "mlp_ratio", "decoder_dim", "decoder_heads"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("decoder_depth", "embedded_levels"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(min(self.dims) >= 1, "dims", self.dims, "at least 1 at every stage")
        require(min(self.depths) >= 0, "depths", self.depths, "0 or more at every stage")
        check_heads("dims[3]", self.dims[3], "num_heads", self.num_heads)
        check_heads("decoder_dim", self.decoder_dim, "decoder_heads", self.decoder_heads)
