"""Samples to batches: a rank or a worker only chooses which sample numbers it makes."""

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mim3d.config import FinetuneConfig, Optimisation, PretrainConfig
from mim3d.data.arrays import turned
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.errors import MimError
from mim3d.sampling.batch import LabelledBatch, LevelBatch, RegionBatch
from mim3d.sampling.crops import LevelCrops, read_region
from mim3d.sampling.labelled import LabelledCrop, read_labelled
from mim3d.sampling.turns import OnDamage, unheard

Sample = TypeVar("Sample")
Batch = TypeVar("Batch")

Notes = list[tuple[str, str]]
"""Damaged cases and what is wrong with them."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions(Dataset[tuple[Case, tuple[LevelCrops, ...]]]):
    """Nested regions by global sample number."""

    store: Store
    cases: Sequence[Case]
    config: PretrainConfig

    def __getitem__(self, number: int) -> tuple[Case, tuple[LevelCrops, ...]]:
        return self.read(number, unheard)

    def read(self, number: int, on_damage: OnDamage) -> tuple[Case, tuple[LevelCrops, ...]]:
        """The region of a number; `on_damage` hears of cases that another takes the place of."""
        return read_region(self.store, self.cases, self.config, number, on_damage)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCrops(Dataset[LabelledCrop]):
    """Labelled crops by global sample number."""

    store: Store
    cases: Sequence[Case]
    config: FinetuneConfig

    def __getitem__(self, number: int) -> LabelledCrop:
        return self.read(number, unheard)

    def read(self, number: int, on_damage: OnDamage) -> LabelledCrop:
        """The crop of a number; `on_damage` hears of cases that another takes the place of."""
        return read_labelled(self.store, self.cases, self.config, number, on_damage)


@dataclass(frozen=True, slots=True, eq=False)
class Noted(Dataset[tuple[Sample | MimError, Notes]], Generic[Sample]):
    """Samples with what is to be said of them; errors too: of a worker's the class would be lost."""

    read: Callable[[int, OnDamage], Sample]

    def __getitem__(self, number: int) -> tuple[Sample | MimError, Notes]:
        notes: Notes = []
        try:
            return self.read(number, lambda case, wrong: notes.append((case, wrong))), notes
        except MimError as error:
            return error, notes


def sample_numbers(
    first_step: int, optimisation: Optimisation, rank: int, num_ranks: int
) -> Iterator[list[int]]:
    """Global sample numbers of one rank's share of each step's batch."""
    share = optimisation.batch_size // num_ranks
    for step in range(first_step, optimisation.steps):
        begin = step * optimisation.batch_size + rank * share
        yield list(range(begin, begin + share))


def region_batches(
    store: Store,
    cases: Sequence[Case],
    config: PretrainConfig,
    first_step: int,
    rank: int,
    num_ranks: int,
    *,
    on_damage: OnDamage = unheard,
) -> Iterator[RegionBatch]:
    """One rank's batches of nested regions from a step on; `on_damage` hears once of each damaged case."""
    numbers = sample_numbers(first_step, config.optimisation, rank, num_ranks)
    found = _load(Regions(store, cases, config).read, numbers, collate_regions, config.runtime.num_workers)
    return _said(found, on_damage)


def labelled_batches(
    store: Store,
    cases: Sequence[Case],
    config: FinetuneConfig,
    first_step: int,
    rank: int,
    num_ranks: int,
    *,
    on_damage: OnDamage = unheard,
) -> Iterator[LabelledBatch]:
    """One rank's batches of labelled crops from a step on; `on_damage` hears once of each damaged case."""
    numbers = sample_numbers(first_step, config.optimisation, rank, num_ranks)
    found = _load(
        LabelledCrops(store, cases, config).read, numbers, collate_labelled, config.runtime.num_workers
    )
    return _said(found, on_damage)


def _load(
    read: Callable[[int, OnDamage], Sample],
    numbers: Iterator[list[int]],
    collate: Callable[[list[Sample]], Batch],
    num_workers: int,
) -> Iterator[tuple[Batch | MimError, Notes]]:
    """Batches of the samples of `numbers`, in order, read ahead by processes, or without any by a thread."""
    loader: DataLoader[tuple[Batch | MimError, Notes]] = DataLoader(
        Noted(read),  # type: ignore[arg-type]
        batch_sampler=numbers,
        collate_fn=partial(_collate, collate),
        num_workers=num_workers,
        multiprocessing_context="forkserver" if num_workers else None,
        worker_init_fn=_leave_interrupts,
    )
    yield from loader if num_workers else ahead(iter(loader))


def _collate(
    collate: Callable[[list[Sample]], Batch], found: list[tuple[Sample | MimError, Notes]]
) -> tuple[Batch | MimError, Notes]:
    """A batch, or the first error of its samples; and all that is to be said of them."""
    notes = [note for _, noted in found for note in noted]
    for sample, _ in found:
        if isinstance(sample, MimError):
            return sample, notes
    return collate([cast(Sample, sample) for sample, _ in found]), notes


def _said(batches: Iterator[tuple[Batch | MimError, Notes]], on_damage: OnDamage) -> Iterator[Batch]:
    """The batches, after what there is to be said of them: once of each case."""
    said: set[str] = set()
    for batch, notes in batches:
        for case, wrong in notes:
            if case not in said:
                said.add(case)
                on_damage(case, wrong)
        if isinstance(batch, MimError):
            raise batch
        yield batch


def ahead(batches: Iterator[Batch]) -> Generator[Batch]:
    """The same batches, each read by a thread while the one before is in use.

    Whoever takes no more of them does not wait for the one that is being read: where Python finds out by
    itself that nobody does, it may do so in a thread that is reading it.
    """
    reader = ThreadPoolExecutor(1)
    try:
        following = reader.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = reader.submit(next, batches, None)
            yield batch
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


def _leave_interrupts(_: int) -> None:
    """In a worker: Ctrl-C is for the training process, which finishes the step at hand."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def collate_regions(samples: list[tuple[Case, tuple[LevelCrops, ...]]]) -> RegionBatch:
    """Stack the samples of a batch level by level; parents are counted through the whole batch."""
    levels = []
    for number in range(len(samples[0][1])):
        crops = [levels_of[number] for _, levels_of in samples]
        above = len(samples[0][1][number - 1].masked) if number else 0
        parent = np.concatenate([level.parent + i * above for i, level in enumerate(crops)])
        levels.append(
            LevelBatch(
                _joined([level.crops for level in crops]),
                torch.from_numpy(np.concatenate([level.masked for level in crops])),
                torch.from_numpy(np.concatenate([level.padded for level in crops])),
                torch.from_numpy(parent),
                torch.from_numpy(np.concatenate([level.cell for level in crops])),
            )
        )
    return RegionBatch(tuple(levels), tuple(case.case for case, _ in samples))


def collate_labelled(samples: list[LabelledCrop]) -> LabelledBatch:
    """Stack labelled crops."""
    return LabelledBatch(
        torch.from_numpy(np.stack([sample.crop for sample in samples])),
        torch.from_numpy(np.stack([sample.labels for sample in samples]).astype(np.int64)),
        torch.from_numpy(np.stack([sample.annotated for sample in samples])),
        tuple(sample.case for sample in samples),
    )


def _joined(crops: list[NDArray[np.float32]]) -> Tensor:
    """Arrays (N, C, X, Y, Z) one after the other, in memory as they are: Z, Y, X."""
    return torch.from_numpy(np.concatenate([*map(turned, crops)])).transpose(-1, -3)
