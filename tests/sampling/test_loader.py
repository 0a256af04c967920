import pickle
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor

from mim3d.config import FinetuneConfig, Optimisation, PretrainConfig
from mim3d.data.store import Store
from mim3d.sampling.batch import LabelledBatch, RegionBatch
from mim3d.sampling.crops import read_region, select_cases
from mim3d.sampling.loader import (
    LabelledCrops,
    Regions,
    ahead,
    collate_labelled,
    collate_regions,
    labelled_batches,
    region_batches,
    sample_numbers,
)


def tensors(batch: RegionBatch) -> list[Tensor]:
    names = ("crops", "masked", "padded", "parent", "cell")
    return [getattr(level, name) for level in batch.levels for name in names]


def same(first: RegionBatch, second: RegionBatch) -> bool:
    pairs = zip(tensors(first), tensors(second), strict=True)
    return first.cases == second.cases and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 6])
def test_ranks_share_out_every_number_once_and_in_order(num_ranks: int) -> None:
    optimisation = Optimisation(steps=4, batch_size=6)
    shares = [list(sample_numbers(1, optimisation, rank, num_ranks)) for rank in range(num_ranks)]
    steps = [[number for share in step for number in share] for step in zip(*shares, strict=True)]
    assert steps == [list(range(6, 12)), list(range(12, 18)), list(range(18, 24))]


def test_the_shares_of_all_ranks_make_the_batch_of_one(store: Store, pretraining: PretrainConfig) -> None:
    cases = select_cases(store, "train")
    whole = next(region_batches(store, cases, pretraining, 1, 0, 1))
    first, second = (next(region_batches(store, cases, pretraining, 1, rank, 2)) for rank in range(2))
    assert first.cases + second.cases == whole.cases
    for a, b, both in zip(first.levels, second.levels, whole.levels, strict=True):
        assert torch.equal(torch.cat([a.crops, b.crops]), both.crops)
        assert torch.equal(torch.cat([a.masked, b.masked]), both.masked)
        assert torch.equal(torch.cat([a.padded, b.padded]), both.padded)
        assert torch.equal(torch.cat([a.cell, b.cell]), both.cell)


def test_the_shares_of_all_ranks_make_the_labelled_batch_of_one(
    store: Store, finetuning: FinetuneConfig
) -> None:
    cases = select_cases(store, "train")
    whole = next(labelled_batches(store, cases, finetuning, 2, 0, 1))
    first, second = (next(labelled_batches(store, cases, finetuning, 2, rank, 2)) for rank in range(2))
    assert torch.equal(torch.cat([first.crops, second.crops]), whole.crops)
    assert torch.equal(torch.cat([first.labels, second.labels]), whole.labels)
    assert first.labels.dtype == torch.int64
    assert torch.equal(torch.cat([first.annotated, second.annotated]), whole.annotated)
    assert first.cases + second.cases == whole.cases


def test_batches_go_on_where_they_were_left(store: Store, pretraining: PretrainConfig) -> None:
    cases = select_cases(store, "train")
    batches = list(region_batches(store, cases, pretraining, 0, 0, 1))
    assert len(batches) == pretraining.optimisation.steps
    later = list(region_batches(store, cases, pretraining, 4, 0, 1))
    assert [same(a, b) for a, b in zip(batches[4:], later, strict=True)] == [True, True]


def test_batches_are_the_same_whatever_the_number_of_workers(
    store: Store, pretraining: PretrainConfig
) -> None:
    cases = select_cases(store, "train")
    read_ahead = replace(pretraining, runtime=replace(pretraining.runtime, num_workers=1))
    here, there = (region_batches(store, cases, config, 0, 0, 1) for config in (pretraining, read_ahead))
    assert all(same(a, b) for a, b in islice(zip(here, there, strict=True), 3))


def test_a_data_set_reads_the_same_after_it_was_sent_to_another_process(
    store: Store, pretraining: PretrainConfig, finetuning: FinetuneConfig
) -> None:
    cases = select_cases(store, "train")
    regions = Regions(store, cases, pretraining)
    sent: Regions = pickle.loads(pickle.dumps(regions))
    assert same(collate_regions([sent[5], sent[3]]), collate_regions([regions[5], regions[3]]))
    crops = LabelledCrops(store, cases, finetuning)
    sent_crops: LabelledCrops = pickle.loads(pickle.dumps(crops))
    assert torch.equal(collate_labelled([sent_crops[4]]).crops, collate_labelled([crops[4]]).crops)


def parents_of(batch: RegionBatch) -> Iterator[tuple[int, list[int]]]:
    for number, level in enumerate(batch.levels):
        yield number, level.parent.tolist()


def test_parents_are_counted_through_the_batch(store: Store, pretraining: PretrainConfig) -> None:
    cases = select_cases(store, "train")
    samples = [read_region(store, cases, pretraining, number) for number in range(3)]
    batch = collate_regions(samples)
    assert batch.cases == tuple(case.case for case, _ in samples)
    assert dict(parents_of(batch)) == {
        0: [],
        1: [0, 0, 1, 1, 2, 2],
        2: [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5],
    }
    assert [tuple(level.crops.shape) for level in batch.levels] == [
        (3, 1, 16, 16, 16),
        (6, 1, 16, 16, 16),
        (12, 1, 16, 16, 16),
    ]
    assert batch.levels[2].masked.dtype == batch.levels[2].padded.dtype == torch.bool
    assert torch.equal(batch.levels[1].crops[2:4], torch.from_numpy(samples[1][1][1].crops))


def test_batches_move_to_a_device(store: Store, pretraining: PretrainConfig) -> None:
    batch = collate_regions([read_region(store, select_cases(store, "train"), pretraining, 0)])
    there = batch.to(torch.device("meta"))
    assert {tensor.device.type for tensor in tensors(there)} == {"meta"}
    assert there.cases == batch.cases
    labelled = LabelledBatch(
        torch.zeros(1, 1, 2, 2, 2),
        torch.zeros(1, 2, 2, 2, dtype=torch.int64),
        torch.ones(1, 2, dtype=torch.bool),
        ("case",),
    )
    moved = labelled.to(torch.device("meta"))
    assert {one.device.type for one in (moved.crops, moved.labels, moved.annotated)} == {"meta"}
    assert moved.cases == ("case",)


def test_one_batch_is_read_ahead_in_order_and_an_error_comes_where_it_belongs() -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(3):
            read.append(number)
            yield number
        raise ValueError("the fourth")

    batches = ahead(numbers())
    assert read == []
    assert next(batches) == 0
    assert next(batches) == 1
    deadline = time.monotonic() + 10
    while len(read) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert read == [0, 1, 2]
    assert next(batches) == 2
    with pytest.raises(ValueError, match="the fourth"):
        next(batches)
    assert list(ahead(iter([]))) == []


def test_whoever_takes_no_more_batches_does_not_wait_for_the_next() -> None:
    read = threading.Event()

    def numbers() -> Iterator[int]:
        yield 0
        read.wait(60)
        yield 1

    batches = ahead(numbers())
    assert next(batches) == 0
    closing = threading.Thread(target=batches.close)
    closing.start()
    closing.join(10)
    waits = closing.is_alive()
    read.set()
    closing.join()
    assert not waits
