"""The hybrid backbone the way the authors' release computes it: what `bench_step.py` measures against.

Channels first, every token computed in every convolution stage, hidden voxels multiplied by zero before each
depthwise convolution, all tokens predicted. Parameters bear the released names, so that `load_released` maps
them onto our own. Transformer blocks are ours, whose attention is fused,
which is kind to this side.

Shapes: B batch, L tokens of a crop, K visible tokens, C channels, X Y Z space, P voxels per patch.
Source: Zhuang et al. 2025, arXiv:2404.15580; written from the description of its layers alone.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.config import Architecture, Nesting
from mim3d.model.blocks import Block, sincos_3d
from mim3d.model.mim import Output, Predictor
from mim3d.model.patches import take_tokens

PATCH = 16
NUM_STAGES = 3


class DensePatchEmbed(nn.Module):
    """Halve every side, change the channels, normalise them."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(dim_in, dim, kernel_size=2, stride=2)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) to (B, C', X / 2, Y / 2, Z / 2)."""
        return F.gelu(channels_normalised(self.norm, self.proj(volume)))


class DenseConvBlock(nn.Module):
    """Depthwise mixing of visible voxels, then an MLP, at every voxel."""

    def __init__(self, dim: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-5)
        self.conv1 = nn.Conv3d(dim, dim, 1)
        self.attn = nn.Conv3d(dim, dim, 5, padding=2, groups=dim)
        self.conv2 = nn.Conv3d(dim, dim, 1)
        self.norm2 = nn.LayerNorm(dim, eps=1e-5)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Conv3d(dim, dim * mlp_ratio, 1), "fc2": nn.Conv3d(dim * mlp_ratio, dim, 1)}
        )

    def forward(self, volume: Tensor, shown: Tensor) -> Tensor:
        """(B, C, X, Y, Z) with shown (B, 1, X, Y, Z), 1 = visible, to (B, C, X, Y, Z)."""
        mixed = self.attn(shown * self.conv1(channels_normalised(self.norm1, volume)))
        volume = volume + self.conv2(mixed)
        hidden = F.gelu(self.mlp["fc1"](channels_normalised(self.norm2, volume)))
        out: Tensor = volume + self.mlp["fc2"](hidden)
        return out


class DenseMim(nn.Module):
    """Encoder, decoder and predictor, with the arguments and results of `mim3d.model.mim.Mim`."""

    pos_embed: Tensor
    decoder_pos_embed: Tensor

    def __init__(self, nesting: Nesting, architecture: Architecture) -> None:
        super().__init__()
        dims, depths, ratio = architecture.dims, architecture.depths, architecture.mlp_ratio
        self.grid, self.nesting = nesting.grid, nesting
        inputs = (architecture.channels, *dims)
        for i in range(4):
            self.add_module(f"patch_embed{i + 1}", DensePatchEmbed(inputs[i], dims[i]))
        for i in range(NUM_STAGES):
            blocks = nn.ModuleList(DenseConvBlock(dims[i], ratio) for _ in range(depths[i]))
            self.add_module(f"blocks{i + 1}", blocks)
            side = PATCH >> (i + 1)
            skip = nn.Conv3d(dims[i], dims[3], kernel_size=side, stride=side)
            self.add_module(f"stage{i + 1}_output_decode", skip)
        self.patch_embed5 = nn.Linear(dims[3], dims[3])
        self.blocks4 = nn.ModuleList(Block(dims[3], architecture.num_heads, ratio) for _ in range(depths[3]))
        self.norm = nn.LayerNorm(dims[3], eps=1e-6)
        width = architecture.decoder_dim
        self.decoder_embed = nn.Linear(dims[3], width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_blocks = nn.ModuleList(
            Block(width, architecture.decoder_heads, ratio) for _ in range(architecture.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, PATCH**3 * architecture.channels)
        self.predictor = Predictor(dims[3], width)
        self.register_buffer("pos_embed", sincos_3d(self.grid, dims[3])[None])
        self.register_buffer("decoder_pos_embed", sincos_3d(self.grid, width)[None])

    def follow(self) -> None:
        """There is no teacher."""

    def forward(self, crops: Tensor, visible: Tensor, hidden: Tensor | None, *_: object) -> Output:
        """What `Mim` gives, computed everywhere; level and cells make no difference here."""
        latents = self.encode(crops, visible)  # (B, K, C)
        tokens = self.decoder_embed(latents)
        count = self.decoder_pos_embed.shape[1]
        rest = self.mask_token.expand(len(crops), count, -1)
        tokens = rest.scatter(1, visible[..., None].expand_as(tokens), tokens) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            tokens = block(tokens)
        features = self.decoder_norm(tokens)
        if hidden is None:
            return Output(features[:, :0], features, None)
        predicted = take_tokens(self.decoder_pred(features), hidden)  # of (B, L, P)
        return Output(predicted, features, self.predictor(latents.mean(dim=1)))

    def encode(self, crops: Tensor, visible: Tensor) -> Tensor:
        """Latents (B, K, C) of crops (B, C, X, Y, Z), seen at tokens (B, K)."""
        shown = crops.new_zeros(len(crops), self.pos_embed.shape[1]).scatter(1, visible, 1.0)
        shown = shown.reshape(-1, 1, *self.grid)
        volume, skips = crops, []
        for i in range(1, NUM_STAGES + 1):
            volume = self.get_submodule(f"patch_embed{i}")(volume)
            enlarged = F.interpolate(shown, size=volume.shape[2:])
            for block in cast(nn.ModuleList, self.get_submodule(f"blocks{i}")):
                volume = block(volume, enlarged)
            skips.append(tokens_of(self.get_submodule(f"stage{i}_output_decode")(volume)))
        tokens = self.patch_embed5(tokens_of(self.get_submodule("patch_embed4")(volume))) + self.pos_embed
        tokens = take_tokens(tokens, visible)  # (B, K, C)
        for block in self.blocks4:
            tokens = block(tokens)
        for skip in skips:
            tokens = tokens + take_tokens(skip, visible)
        latents: Tensor = self.norm(tokens)
        return latents


def as_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights or gradients of `DenseMim` under the released names: its transformer blocks have ours."""
    renamed = {}
    for name, tensor in tensors.items():
        inner = name.replace(".qkv.", ".attn.qkv.").replace(".project.", ".attn.proj.")
        renamed[inner if "blocks" in name else name] = tensor
    return renamed


def channels_normalised(norm: nn.Module, volume: Tensor) -> Tensor:
    """`norm` over the channels of (B, C, X, Y, Z)."""
    normalised: Tensor = norm(volume.permute(0, 2, 3, 4, 1))
    return normalised.permute(0, 4, 1, 2, 3).contiguous()


def tokens_of(volume: Tensor) -> Tensor:
    """(B, C, X, Y, Z) to (B, X * Y * Z, C)."""
    return volume.flatten(2).transpose(1, 2)
