"""Segmentation's objective: how well regions overlap, plus how well each voxel is told.

Shapes: B batch, S structures, O outputs (S, or 1 + S with the background first), X Y Z space.
"""

from collections.abc import Callable, Iterator
from functools import partial

from monai.losses import DiceLoss, FocalLoss, GeneralizedDiceLoss, TverskyLoss
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.config import FinetuneConfig, SegmentationLoss
from mim3d.objective.known import UNKNOWN, Known, known_of
from mim3d.sampling.batch import LabelledBatch
from mim3d.train.chunk import Chunk, Group, Logged

Term = Callable[[Known], Tensor]
"""A part of the loss: a scalar."""


def segment_chunks(config: FinetuneConfig, _: nn.Module, batch: LabelledBatch) -> Iterator[Group]:
    """The loss of a batch of labelled crops, as one chunk."""
    yield [Chunk(partial(_score, config, batch), last=True)]


def dice_loss(known: Known) -> Tensor:
    """Mean soft Dice loss over the structures, each taken over the whole batch, background left out.

    Source: Milletari et al. 2016, arXiv:1606.04797, eq. 3, with plain instead of squared denominators and
    1e-5 voxels added above and below the line. Crop by crop, each structure that a crop does not hold would
    cost about 1 whatever is predicted, and drown the others.
    """
    return _overlap(DiceLoss(batch=True), known)


def generalized_dice_loss(known: Known) -> Tensor:
    """One soft Dice loss over all structures and the whole batch, each weighted by 1 / voxels^2.

    Source: Sudre et al. 2017, arXiv:1707.03237, sec. 2.1; the background is left out, and structures that the
    batch does not hold have the largest weight, as in MONAI.
    """
    return _overlap(GeneralizedDiceLoss(batch=True), known)


def tversky_loss(known: Known) -> Tensor:
    """As `dice_loss`, with missed voxels at 0.7 and invented ones at 0.3, where Dice has 0.5 for both.

    Source: Salehi et al. 2017, arXiv:1706.05721, eq. 1, with the weights that did best there.
    """
    return _overlap(TverskyLoss(alpha=0.3, beta=0.7, batch=True), known)


def cross_entropy(known: Known) -> Tensor:
    """Mean cross-entropy over the voxels that are known; where structures overlap, of all structures."""
    if known.ids is None:
        each = F.binary_cross_entropy_with_logits(
            known.logits, known.truth.to(known.logits), reduction="none"
        )
        return _mean(each, known)
    total = F.nll_loss(known.logits, known.ids, ignore_index=UNKNOWN, reduction="sum")
    return total / _count(known)


def focal_loss(known: Known) -> Tensor:
    """Mean focal loss over what is known and over the outputs, with a gamma of 2.

    Source: Lin et al. 2017, arXiv:1708.02002, eq. 4; averaged over outputs, of which only the true one has a
    loss where they exclude one another, as in MONAI.
    """
    each = FocalLoss(use_softmax=not known.overlapping, reduction="none")(known.logits, known.truth)
    return _mean(each, known)


LOSSES: dict[SegmentationLoss, dict[str, Term]] = {
    "dice_ce": {"dice_loss": dice_loss, "cross_entropy": cross_entropy},
    "dice_focal": {"dice_loss": dice_loss, "focal_loss": focal_loss},
    "generalized_dice_ce": {"dice_loss": generalized_dice_loss, "cross_entropy": cross_entropy},
    "tversky_ce": {"dice_loss": tversky_loss, "cross_entropy": cross_entropy},
}
"""Terms of each loss by the name under which they are logged; the loss is their sum."""


def _score(config: FinetuneConfig, batch: LabelledBatch, model: nn.Module) -> tuple[Tensor, Logged]:
    known = known_of(model(batch.crops).float(), batch, config)
    terms = {name: term(known) for name, term in LOSSES[config.loss].items()}
    return sum(terms.values(), known.logits.new_zeros(())), {n: value.detach() for n, value in terms.items()}


def _overlap(loss: nn.Module, known: Known) -> Tensor:
    found: Tensor = loss(known.shares, known.structures.to(known.logits))
    return found


def _mean(each: Tensor, known: Known) -> Tensor:
    """Mean over what is known of (B, O, X, Y, Z); 0 where nothing is."""
    outputs = each.shape[1] // known.known.shape[1]
    return (each * known.known).sum() / (outputs * _count(known))


def _count(known: Known) -> Tensor:
    """How much is known, at least 1."""
    return known.known.sum().clamp(min=1)
