"""Samples to batches: a rank or a worker only chooses which sample numbers it makes."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mim3d.config import FinetuneConfig, Optimisation, PretrainConfig
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.sampling.batch import LabelledBatch, LevelBatch, RegionBatch
from mim3d.sampling.crops import LabelledCrop, LevelCrops, read_labelled, read_region

Sample = TypeVar("Sample")
Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True, eq=False)
class Regions(Dataset[tuple[Case, tuple[LevelCrops, ...]]]):
    """Nested regions by global sample number."""

    store: Store
    cases: tuple[Case, ...]
    config: PretrainConfig

    def __getitem__(self, number: int) -> tuple[Case, tuple[LevelCrops, ...]]:
        return read_region(self.store, self.cases, self.config, number)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCrops(Dataset[LabelledCrop]):
    """Labelled crops by global sample number."""

    store: Store
    cases: tuple[Case, ...]
    config: FinetuneConfig

    def __getitem__(self, number: int) -> LabelledCrop:
        return read_labelled(self.store, self.cases, self.config, number)


def sample_numbers(
    first_step: int, optimisation: Optimisation, rank: int, num_ranks: int
) -> Iterator[list[int]]:
    """Global sample numbers of one rank's share of each step's batch."""
    share = optimisation.batch_size // num_ranks
    for step in range(first_step, optimisation.steps):
        begin = step * optimisation.batch_size + rank * share
        yield list(range(begin, begin + share))


def region_batches(
    store: Store, cases: tuple[Case, ...], config: PretrainConfig, first_step: int, rank: int, num_ranks: int
) -> Iterator[RegionBatch]:
    """One rank's batches of nested regions from a step on."""
    numbers = sample_numbers(first_step, config.optimisation, rank, num_ranks)
    return _load(Regions(store, cases, config), numbers, collate_regions, config.runtime.num_workers)


def labelled_batches(
    store: Store, cases: tuple[Case, ...], config: FinetuneConfig, first_step: int, rank: int, num_ranks: int
) -> Iterator[LabelledBatch]:
    """One rank's batches of labelled crops from a step on."""
    numbers = sample_numbers(first_step, config.optimisation, rank, num_ranks)
    return _load(LabelledCrops(store, cases, config), numbers, collate_labelled, config.runtime.num_workers)


def _load(
    dataset: Dataset[Sample],
    numbers: Iterator[list[int]],
    collate: Callable[[list[Sample]], Batch],
    num_workers: int,
) -> Iterator[Batch]:
    """Batches of the samples of `numbers`, in order, read ahead by `num_workers` processes or a thread."""
    loader: DataLoader[Batch] = DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=numbers,
        collate_fn=collate,
        num_workers=num_workers,
        multiprocessing_context="forkserver" if num_workers else None,
        worker_init_fn=_leave_interrupts,
    )
    yield from loader if num_workers else ahead(iter(loader))


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each read by a thread while the one before is in use."""
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = reader.submit(next, batches, None)
            yield batch


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
                torch.from_numpy(np.concatenate([level.crops for level in crops])),
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
    )
