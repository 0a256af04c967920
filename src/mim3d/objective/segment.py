"""Segmentation's objective: Dice and cross-entropy, voxels marked as ignored left out.

Shapes: B batch, S structures, X Y Z space.
"""

from collections.abc import Iterator
from functools import partial

from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.sampling.crops import IGNORED
from mim3d.sampling.loader import LabelledBatch
from mim3d.train.chunk import Chunk, Logged


def segment_chunks(model: nn.Module, batch: LabelledBatch) -> Iterator[Chunk]:
    """The loss of a batch of labelled crops, as one chunk."""
    yield Chunk(partial(_score, model, batch), last=True)


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean soft Dice loss over the structures of each crop, background left out.

    Source: Milletari et al. 2016, arXiv:1606.04797, eq. 3, with plain instead of squared denominators.

    Args:
        logits: (B, 1 + S, X, Y, Z).
        labels: (B, X, Y, Z), 255 is ignored.

    Returns:
        Scalar.
    """
    known = (labels != IGNORED)[:, None]  # (B, 1, X, Y, Z)
    one_hot = F.one_hot(labels.where(known[:, 0], 0), logits.shape[1]).movedim(-1, 1)  # (B, 1 + S, X, Y, Z)
    loss: Tensor = DiceLoss(include_background=False)(logits.softmax(dim=1) * known, one_hot * known)
    return loss


def _score(model: nn.Module, batch: LabelledBatch) -> tuple[Tensor, Logged]:
    logits: Tensor = model(batch.crops).float()
    dice = dice_loss(logits, batch.labels)
    cross_entropy = F.cross_entropy(logits, batch.labels, ignore_index=IGNORED)
    return dice + cross_entropy, {"dice_loss": dice.detach(), "cross_entropy": cross_entropy.detach()}
