"""Which level a crop is of, told to the network by a learnt code.

Shapes: B batch, K tokens, C channels.
"""

import torch
from torch import Tensor, nn


class LevelCode(nn.Module):
    """Adds the code of a level to tokens; nothing, if no levels are told apart."""

    def __init__(self, num_levels: int, dim: int) -> None:
        super().__init__()
        self.shape = (num_levels, dim)
        # One row of numbers, since what has several dimensions decays; whole, so that every level's step
        # gives a gradient to all of it, as distributed training needs.
        self.codes = nn.Parameter(torch.empty(num_levels * dim).normal_(std=0.02)) if num_levels else None

    def forward(self, tokens: Tensor, level: int | None) -> Tensor:
        """(B, K, C) to the same; level None stands for any, and gets the mean of the codes."""
        if self.codes is None:
            return tokens
        codes = self.codes.reshape(self.shape)  # (levels, C)
        return tokens + (codes.mean(dim=0) if level is None else codes[level])
