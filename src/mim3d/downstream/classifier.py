"""The encoder with a linear layer on its pooled tokens: a volume in, logits per class out.

Shapes: B batch, L tokens, C channels, H heads, K classes, X Y Z space.
Source of the head: the authors' release, layer normalisation and a linear layer on the mean of the tokens.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.config import ClassifyConfig
from mim3d.config_file import read_run_config
from mim3d.errors import CheckpointError
from mim3d.model.blocks import init_weights
from mim3d.model.encoder import Encoder
from mim3d.train.checkpoint import finished_weights, load_weights

HEAD_STD = 0.01
"""Of the last layer's weights before training: every class begins about as probable as the others."""


class Classifier(nn.Module):
    """Tokens of a whole crop, pooled, normalised, and told apart by a linear layer."""

    def __init__(self, config: ClassifyConfig) -> None:
        super().__init__()
        architecture = config.architecture
        dim = architecture.dims[3]
        self.encoder = Encoder(config.patch, architecture, config.transfer.drop_path)
        self.pool = AttentionPool(dim, architecture.num_heads) if config.pooling == "attention" else None
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, len(config.classes))
        nn.init.trunc_normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)

    def layers(self) -> list[list[nn.Module]]:
        """Modules of the encoder: see there."""
        return self.encoder.layers()

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, X, Y, Z) intensities in [0, 1] to logits (B, K)."""
        return self.of_tokens(tokens_of(self.encoder, volume))

    def of_tokens(self, tokens: Tensor) -> Tensor:
        """(B, L, C) to logits (B, K)."""
        pooled = tokens.mean(dim=1) if self.pool is None else self.pool(tokens)  # (B, C)
        logits: Tensor = self.head(self.norm(pooled))
        return logits


class AttentionPool(nn.Module):
    """One learnt query attends to all tokens.

    Source: Lee et al. 2019, arXiv:1810.00825, sec. 3.2 (pooling by multihead attention), with one seed and
    without the feed-forward layers. It begins as the mean: the query is 0, so all tokens weigh the same.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.zeros(dim))
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.apply(init_weights)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, C) to (B, C)."""
        query = self._apart(self.query.expand(tokens.shape[0], 1, -1))  # (B, H, 1, C / H)
        key, value = self._apart(self.key(tokens)), self._apart(self.value(tokens))
        pooled: Tensor = F.scaled_dot_product_attention(query, key, value)  # (B, H, 1, C / H)
        return pooled.flatten(1)  # (B, C)

    def _apart(self, tokens: Tensor) -> Tensor:
        """(B, L, C) to (B, H, L, C / H)."""
        return tokens.reshape(*tokens.shape[:2], self.num_heads, -1).transpose(1, 2)


def tokens_of(encoder: Encoder, volume: Tensor) -> Tensor:
    """Latents (B, L, C) of all tokens of a volume (B, C, X, Y, Z), nothing hidden."""
    sides = zip(volume.shape[2:], encoder.patch, strict=True)
    count = math.prod(side // patch for side, patch in sides)
    everything = torch.arange(count, device=volume.device).expand(len(volume), -1)
    latents: Tensor = encoder(volume, everything)
    return latents


def load_classifier(run: Path, device: str = "cpu") -> tuple[Classifier, ClassifyConfig]:
    """The network of a fine-tuned run with its best weights, in evaluation mode, and its configuration.

    Raises:
        CheckpointError: If the run is none of classification, is unfinished, or its weights are damaged.
        ConfigError: If its configuration cannot be read.
    """
    config = read_run_config(run)
    if not isinstance(config, ClassifyConfig):
        raise CheckpointError(
            f"{run}: no run of classification; make one with `mim3d finetune classification`"
        )
    classifier = Classifier(config)
    load_weights(classifier, finished_weights(run))
    return classifier.to(torch.device(device)).eval(), config
