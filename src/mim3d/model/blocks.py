"""The parts of the hybrid backbone, channels last throughout.

Shapes: B batch, K tokens, N = B * K, C channels, x y z the side of a token's cube at a stage.
Source: Zhuang et al. 2025, arXiv:2404.15580; sizes and eps as in the authors' released weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.geometry import Triple
from mim3d.model.convblock import Weights, conv_block
from mim3d.model.depthwise import KERNEL
from mim3d.model.linear import Linear, linear
from mim3d.model.patches import take_tokens
from mim3d.model.rows import EPS, PIECE, lower_dtype


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, dim: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = Linear(dim, dim * ratio)
        self.fc2 = Linear(dim * ratio, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return out


class ConvBlock(nn.Module):
    """A convolution block on visible tokens: depthwise mixing in place of attention, then an MLP."""

    def __init__(self, dim: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.conv1 = Linear(dim, dim)
        self.depthwise = nn.Conv3d(dim, dim, KERNEL, groups=dim)
        self.conv2 = Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, mlp_ratio)
        self.piece = PIECE

    def forward(self, cubes: Tensor, index: Tensor) -> Tensor:
        """(N, x, y, z, C) to the same, with the halo index (N, x + 4, y + 4, z + 4)."""
        return conv_block(cubes, index, self._weights(), self.piece)

    def _weights(self) -> Weights:
        """Parameters; where mixed precision is on, those of all but the norms in the lower one."""
        lower = lower_dtype(self.conv1.weight)
        own = self.norm1, self.conv1, self.depthwise, self.conv2, self.norm2, self.mlp.fc1, self.mlp.fc2
        found: list[Tensor] = []
        for layer in own:
            dtype = None if isinstance(layer, nn.LayerNorm) else lower
            found += [parameter.to(dtype) for parameter in layer.parameters()]
        return Weights(*found)


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.qkv = Linear(dim, 3 * dim)
        self.project = Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, tokens: Tensor, wanted: Tensor | None = None) -> Tensor:
        """(B, K, C) to (B, K, C), or to those at index `wanted` (B, M) alone: (B, M, C)."""
        normed = self.norm1(tokens)
        if wanted is None:
            query, key, value = self._heads(self.qkv(normed), 3)
        else:
            dim, weight, bias = tokens.shape[-1], self.qkv.weight, self.qkv.bias
            tokens = take_tokens(tokens, wanted)
            (query,) = self._heads(linear(take_tokens(normed, wanted), weight[:dim], bias[:dim]), 1)
            key, value = self._heads(linear(normed, weight[dim:], bias[dim:]), 2)
        mixed = F.scaled_dot_product_attention(query, key, value)  # (B, heads, M, C / heads)
        tokens = tokens + self.project(mixed.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out

    def _heads(self, projected: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, K, parts * C) to as many of (B, heads, K, C / heads)."""
        batch, count, width = projected.shape
        apart = projected.reshape(batch, count, parts, self.num_heads, width // parts // self.num_heads)
        return apart.permute(2, 0, 3, 1, 4).unbind(0)


def sincos_3d(grid: Triple, dim: int) -> Tensor:
    """Fixed position codes (L, C): a third of the channels an axis, in tokens, sines then cosines.

    Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.5, for each axis, and not interleaved.
    """
    third = dim // 3
    rates = 10000.0 ** -(torch.arange(third // 2, dtype=torch.float64) / (third / 2))
    codes = []
    for place in torch.meshgrid(*map(torch.arange, grid), indexing="ij"):  # x, y, z of every token
        angle = place.reshape(-1, 1).to(torch.float64) * rates  # (L, C / 6)
        codes.append(torch.cat([angle.sin(), angle.cos()], dim=1))
    return torch.cat(codes, dim=1).float()


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero biases, as in He et al. 2022, arXiv:2111.06377, sec. A.1."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
