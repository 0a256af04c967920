"""What is known of labelled crops, beside the logits: losses are taken of it, and of nothing else.

Voxels marked as ignored are left out of all. Structures that were not annotated in a case are left out of
its crops. Where structures overlap, each has an output of its own, and theirs are set aside. Where they
exclude one another, a voxel that is labelled as nothing may be background or one of them: their probabilities
are added to the background's, which that voxel is then held against. No voxel is taught as background of a
structure that nobody looked for.

Shapes: B batch, S structures, P parts, O outputs (S, or 1 + S with the background first), X Y Z space.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mim3d.config import FinetuneConfig
from mim3d.config.structures import membership, painted
from mim3d.sampling.batch import LabelledBatch
from mim3d.sampling.labelled import IGNORED

UNKNOWN = -100
"""In place of an output's number."""
IMPOSSIBLE = -1e4
"""Logit of structures that were added to the background: a probability of 0 exactly, and still finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Logits and truth of a batch, with what is known of it."""

    logits: Tensor
    """(B, O, X, Y, Z); log-probabilities where outputs exclude one another."""
    truth: Tensor
    """(B, O, X, Y, Z), bool; False wherever nothing is known."""
    known: Tensor
    """(B, S, X, Y, Z), or (B, 1, X, Y, Z) where outputs exclude one another; bool."""
    ids: Tensor | None
    """(B, X, Y, Z), number of the true output, `UNKNOWN` where nothing is known; None where structures
    overlap."""

    @property
    def overlapping(self) -> bool:
        """Whether each output is a yes or no of its own."""
        return self.ids is None

    @property
    def shares(self) -> Tensor:
        """Probability (B, S, X, Y, Z) of each structure; 0 wherever nothing is known."""
        found = self.logits.sigmoid() if self.overlapping else self.logits[:, 1:].exp()
        return found if bool(self.known.all()) else found * self.known

    @property
    def structures(self) -> Tensor:
        """Where each structure is, (B, S, X, Y, Z), bool; False wherever nothing is known."""
        return self.truth if self.overlapping else self.truth[:, 1:]


def known_of(logits: Tensor, batch: LabelledBatch, config: FinetuneConfig) -> Known:
    """Logits (B, O, X, Y, Z) beside what is known of their batch."""
    sure = (batch.labels != IGNORED)[:, None]  # (B, 1, X, Y, Z)
    ids = batch.labels.where(sure[:, 0], 0)
    annotated = batch.annotated[:, :, None, None, None]  # (B, S, 1, 1, 1)
    if config.overlapping:
        table = torch.tensor(membership(config.structures), device=logits.device)  # (S, 1 + P)
        truth = table[:, ids].movedim(0, 1)  # (B, S, X, Y, Z)
        known = sure & annotated
        return Known(logits, truth & known, known, None)
    table = torch.tensor(painted(config.structures), device=logits.device)  # (1 + P,)
    outputs = table[ids]  # (B, X, Y, Z)
    truth = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)  # (B, 1 + S, X, Y, Z)
    truth.scatter_(1, outputs[:, None], sure)
    merged = _merged(logits, annotated).contiguous()  # channels first: quicker from here on
    return Known(merged.log_softmax(dim=1), truth, sure, outputs.where(sure[:, 0], UNKNOWN))


def _merged(logits: Tensor, annotated: Tensor) -> Tensor:
    """Logits (B, 1 + S, X, Y, Z) with structures that were not annotated (B, S, 1, 1, 1) in the background.

    Source: Shi et al. 2021, arXiv:2007.03868, sec. 3.1, the marginal loss.
    """
    if bool(annotated.all()):
        return logits
    either = logits[:, 1:].masked_fill(annotated, IMPOSSIBLE)  # (B, S, X, Y, Z)
    background = torch.cat([logits[:, :1], either], dim=1).logsumexp(dim=1, keepdim=True)
    return torch.cat([background, logits[:, 1:].masked_fill(~annotated, IMPOSSIBLE)], dim=1)
