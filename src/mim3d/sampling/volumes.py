"""Batches of classified volumes.

Shapes: B samples of a batch, C channels, K classes, X Y Z space.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mim3d.config import ClassifyConfig
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.sampling.loader import batches_of, sample_numbers
from mim3d.sampling.turns import OnDamage, unheard
from mim3d.sampling.whole import ClassifiedCrop, read_classified


@dataclass(frozen=True, slots=True, eq=False)
class ClassifiedBatch:
    """Volumes and their classes."""

    crops: Tensor
    """(B, C, X, Y, Z), intensities in [0, 1]."""
    truth: Tensor
    """(B, K), 1 for the classes that a volume has, else 0."""
    cases: tuple[str, ...]

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return type(self)(self.crops.to(device), self.truth.to(device), self.cases)


def classified_batches(
    store: Store,
    cases: Sequence[Case],
    config: ClassifyConfig,
    first_step: int,
    rank: int,
    num_ranks: int,
    *,
    on_damage: OnDamage = unheard,
) -> Iterator[ClassifiedBatch]:
    """One rank's batches of classified volumes from a step on; `on_damage` hears once of each damaged one."""
    numbers = sample_numbers(first_step, config.optimisation, rank, num_ranks)
    read = partial(read_classified, store, cases, config)
    return batches_of(read, numbers, collate_classified, config.runtime.num_workers, on_damage)


def collate_classified(samples: list[ClassifiedCrop]) -> ClassifiedBatch:
    """Stack volumes and their classes."""
    return ClassifiedBatch(
        torch.from_numpy(np.stack([sample.crop for sample in samples])),
        torch.from_numpy(np.stack([sample.truth for sample in samples]).astype(np.float32)),
        tuple(sample.case for sample in samples),
    )
