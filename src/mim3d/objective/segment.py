"""Segmentation's objective: Dice and cross-entropy, voxels marked as ignored left out.

Shapes: B batch, S structures, X Y Z space.
"""

from collections.abc import Iterator
from functools import partial

from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.sampling.batch import LabelledBatch
from mim3d.sampling.crops import IGNORED
from mim3d.train.chunk import Chunk, Group, Logged


def segment_chunks(_: nn.Module, batch: LabelledBatch) -> Iterator[Group]:
    """The loss of a batch of labelled crops, as one chunk."""
    yield [Chunk(partial(_score, batch), last=True)]


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean soft Dice loss over the structures, each taken over the whole batch, background left out.

    Source: Milletari et al. 2016, arXiv:1606.04797, eq. 3, with plain instead of squared denominators and
    1e-5 voxels added above and below the line. Crop by crop, each structure that a crop does not hold would
    cost about 1 whatever is predicted, and drown the others.

    Args:
        logits: (B, 1 + S, X, Y, Z).
        labels: (B, X, Y, Z), 255 is ignored.

    Returns:
        Scalar.
    """
    known = (labels != IGNORED)[:, None]  # (B, 1, X, Y, Z)
    truth = labels.where(known[:, 0], 0)  # ignored voxels go to the background, which is left out
    one_hot = F.one_hot(truth, logits.shape[1]).movedim(-1, 1)  # (B, 1 + S, X, Y, Z)
    loss: Tensor = DiceLoss(include_background=False, batch=True)(logits.softmax(dim=1) * known, one_hot)
    return loss


def known_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the voxels that are not ignored; 0 where all of them are.

    Args:
        logits: (B, 1 + S, X, Y, Z).
        labels: (B, X, Y, Z), 255 is ignored.

    Returns:
        Scalar.
    """
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def _score(batch: LabelledBatch, model: nn.Module) -> tuple[Tensor, Logged]:
    logits: Tensor = model(batch.crops).float()
    dice = dice_loss(logits, batch.labels)
    cross_entropy = known_cross_entropy(logits, batch.labels)
    return dice + cross_entropy, {"dice_loss": dice.detach(), "cross_entropy": cross_entropy.detach()}
