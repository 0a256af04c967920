"""The teacher: an average of the student's past weights, which gives steady features to foresee.

Source: He et al. 2020, arXiv:1911.05722, sec. 3.2; Grill et al. 2020, arXiv:2006.07733, eq. 1.
"""

import copy

import torch
from torch import nn

from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder


class Teacher(nn.Module):
    """A copy of encoder and decoder that follows them and is not trained."""

    def __init__(self, encoder: Encoder, decoder: Decoder, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.encoder, self.decoder = copy.deepcopy(encoder), copy.deepcopy(decoder)
        self.requires_grad_(False)

    @torch.no_grad()
    def follow(self, encoder: Encoder, decoder: Decoder) -> None:
        """Move each weight by 1 - momentum of its way to the student's; where both agree it stays."""
        for ours, theirs in ((self.encoder, encoder), (self.decoder, decoder)):
            for average, present in zip(ours.parameters(), theirs.parameters(), strict=True):
                average.lerp_(present, 1 - self.momentum)
