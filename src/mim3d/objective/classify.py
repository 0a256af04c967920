"""Classification's objective: weighted cross-entropy, volume by volume.

Shapes: B batch, K classes.
"""

from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.sampling.volumes import ClassifiedBatch
from mim3d.train.chunk import Chunk, Group, Logged


def classify_chunks(
    weights: Tensor, multi_label: bool, _: nn.Module, batch: ClassifiedBatch
) -> Iterator[Group]:
    """The loss of a batch, a chunk a volume: no volume's loss depends on another.

    Args:
        weights: (K,), see `class_loss`.
        multi_label: Whether each class is a yes or no of its own.
        batch: Volumes and their classes.
    """
    last = len(batch.crops) - 1
    score = partial(_score, weights.to(batch.crops.device), multi_label, batch)
    yield [Chunk(partial(score, number), last=number == last) for number in range(last + 1)]


def class_loss(logits: Tensor, truth: Tensor, weights: Tensor, *, multi_label: bool) -> Tensor:
    """Cross-entropy of each volume, (B,).

    The loss of a volume is multiplied by the weight of its class, not divided by the weights of its batch, so
    that in small batches too a rare class counts more. With several labels it is the mean over classes of
    binary cross-entropies, in which having a class counts its weight, and not having it 1.

    Args:
        logits: (B, K).
        truth: (B, K), 1 for classes that a volume has, else 0.
        weights: (K,).
        multi_label: Whether each class is a yes or no of its own.
    """
    if not multi_label:
        return F.cross_entropy(logits, truth, weight=weights, reduction="none")
    each = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=weights, reduction="none")
    return each.mean(dim=1)


def class_probabilities(logits: Tensor, *, multi_label: bool) -> Tensor:
    """Logits (B, K) as probabilities: of each class by itself, or such that they add up to 1."""
    return logits.sigmoid() if multi_label else logits.softmax(dim=-1)


def _score(
    weights: Tensor, multi_label: bool, batch: ClassifiedBatch, number: int, model: nn.Module
) -> tuple[Tensor, Logged]:
    crop, truth = batch.crops[number : number + 1], batch.truth[number : number + 1]  # (1, ...), (1, K)
    logits = model(crop).float()
    loss = class_loss(logits, truth, weights, multi_label=multi_label).sum() / len(batch.crops)
    return loss, {"accuracy": _right(logits.detach(), truth, multi_label) / len(batch.crops)}


def _right(logits: Tensor, truth: Tensor, multi_label: bool) -> Tensor:
    """Share of what is decided about one volume, (1, K), that is right: all or nothing of one label."""
    if multi_label:
        return ((logits > 0) == (truth > 0)).float().mean()
    return (logits.argmax(dim=1) == truth.argmax(dim=1)).float().mean()
