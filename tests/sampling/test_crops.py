from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.config import FinetuneConfig, PretrainConfig, Window
from mim3d.data.catalog import Catalog
from mim3d.data.labels import LabelSet
from mim3d.data.store import Store
from mim3d.errors import DataError, StoreError
from mim3d.geometry import Box, Triple, triple
from mim3d.sampling import crops as module
from mim3d.sampling.crops import (
    IGNORED,
    annotated_cases,
    read_label_ids,
    read_labelled,
    read_region,
    select_cases,
)

BOX = Box((14.0, 10.0, -2.0), (16.0, 16.0, 24.0))
"""Partly below the volumes, with lung and liver in it."""


@pytest.fixture
def fixed_box(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.int32]]:
    """Every crop is cut at BOX and not augmented; gives the voxels that it was to be drawn from."""
    voxels_given: list[NDArray[np.int32]] = []

    def draw(extent: Triple, shape: Triple, voxels: NDArray[np.int32], *_: object) -> Box:
        voxels_given.append(voxels)
        return BOX

    monkeypatch.setattr(module, "draw_region", draw)
    monkeypatch.setattr(module, "augment", lambda crop, labels, random, axes: (crop, labels))
    return voxels_given


def windowed(hu: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = np.clip((hu - window.low) / (window.high - window.low), 0, 1)
    return scaled


def test_a_region_is_a_function_of_seed_and_number(store: Store, pretraining: PretrainConfig) -> None:
    cases = select_cases(store, "train")

    def region(seed: int, number: int) -> bytes:
        case, levels = read_region(store, cases, replace(pretraining, seed=seed), number)
        parts = [level.crops.tobytes() + level.masked.tobytes() + level.cell.tobytes() for level in levels]
        return case.case.encode() + b"".join(parts)

    forwards = [region(1, number) for number in range(6)]
    backwards = [region(1, number) for number in reversed(range(6))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 6
    assert region(2, 0) != region(1, 0)


def test_a_labelled_crop_is_a_function_of_seed_and_number(store: Store, finetuning: FinetuneConfig) -> None:
    cases = select_cases(store, "train")

    def sample(seed: int, number: int) -> bytes:
        crop = read_labelled(store, cases, replace(finetuning, seed=seed), number)
        return crop.crop.tobytes() + crop.labels.tobytes()

    forwards = [sample(1, number) for number in range(6)]
    assert forwards == [sample(1, number) for number in reversed(range(6))][::-1]
    assert len(set(forwards)) == 6
    assert sample(2, 0) != sample(1, 0)


def test_every_case_is_taken_once_per_lap(store: Store, pretraining: PretrainConfig) -> None:
    cases = select_cases(store, "train")
    taken = [read_region(store, cases, pretraining, number)[0].case for number in range(4 * len(cases))]
    laps = [tuple(taken[i : i + len(cases)]) for i in range(0, len(taken), len(cases))]
    assert all(sorted(lap) == [case.case for case in cases] for lap in laps)
    assert len(set(laps)) > 1


def test_crops_are_what_the_store_reads_windowed(store: Store, pretraining: PretrainConfig) -> None:
    config = replace(pretraining, window=Window(low=-150, high=250))
    case, levels = read_region(store, select_cases(store, "train"), config, number=2)
    for number, level in enumerate(levels):
        assert len(level.boxes) == config.nesting.num_crops(number)
        for crop, box in zip(level.crops, level.boxes, strict=True):
            expected = windowed(store.read(case.case, box, (16, 16, 16)), config.window)
            np.testing.assert_allclose(crop, expected, atol=1e-6)
    assert levels[0].crops.dtype == np.float32
    assert 0 < levels[0].crops.mean() < 1


def test_tokens_that_hold_padding_are_marked(store: Store, pretraining: PretrainConfig) -> None:
    config = replace(pretraining, nesting=replace(pretraining.nesting, extent=(64, 24, 40)))
    case, levels = read_region(store, select_cases(store, "train"), config, number=0)
    for level in levels:
        assert level.padded.shape == level.masked.shape
        for row, box in zip(level.padded, level.boxes, strict=True):
            whole = Box((0.0, 0.0, 0.0), triple(case.shape))
            assert row.tolist() == [not whole.contains(token) for token in box.split((4, 4, 4))]
    assert [bool(level.padded.any()) for level in levels[:1]] == [True]
    assert not levels[0].padded.all()


def test_labels_become_ids_in_the_order_asked(store: Store, finetuning: FinetuneConfig) -> None:
    (case, *_) = select_cases(store, "train")
    stored = store.read_labels(case.case, "labels", BOX, (16, 16, 24))
    values = store.label_sets["labels"].structures
    ids = read_label_ids(store, case, BOX, finetuning)
    expected = np.where(stored == values["liver"], 1, np.where(stored == values["lungs"], 2, 0))
    assert np.array_equal(ids, expected)
    assert set(np.unique(ids)) == {0, 1, 2}
    assert ids.dtype == np.uint8


def test_what_is_to_be_ignored_becomes_255(store: Store, finetuning: FinetuneConfig) -> None:
    (case, *_) = select_cases(store, "train")
    structures = dict(store.label_sets["labels"].structures)
    ignored = structures.pop("bowel")
    marked = replace(store, label_sets={"labels": LabelSet("labels", structures, ignore=ignored)})
    whole = Box((0, 0, 0), (32.0, 29.0, 26.0))
    ids = read_label_ids(marked, case, whole, finetuning)
    stored = store.read_labels(case.case, "labels", whole, (32, 29, 26))
    assert np.array_equal(ids == IGNORED, stored == ignored)
    assert (ids == IGNORED).any()


def test_image_and_labels_are_of_the_same_box(
    store: Store, finetuning: FinetuneConfig, fixed_box: list[NDArray[np.int32]]
) -> None:
    cases = select_cases(store, "train")[:1]
    sample = read_labelled(store, cases, finetuning, number=0)
    expected = windowed(store.read(cases[0].case, BOX, (16, 16, 16)), finetuning.window)
    np.testing.assert_allclose(sample.crop, expected, atol=1e-6)
    assert np.array_equal(sample.labels, read_label_ids(store, cases[0], BOX, finetuning))


def test_two_crops_in_three_are_about_a_structure(
    store: Store, finetuning: FinetuneConfig, fixed_box: list[NDArray[np.int32]]
) -> None:
    cases = select_cases(store, "train")[:1]
    places, body = store.foreground(cases[0].case, "labels"), store.foreground(cases[0].case, None)[0]
    for number in range(300):
        read_labelled(store, cases, finetuning, number)
    values = store.label_sets["labels"].structures
    kinds = {"liver": places[values["liver"]], "lungs": places[values["lungs"]], "body": body}
    counts = Counter(name for given in fixed_box for name, one in kinds.items() if np.array_equal(given, one))
    assert counts.total() == 300
    assert all(70 < counts[name] < 130 for name in kinds)


def test_a_case_without_the_structure_is_cut_anywhere_in_its_body(
    store: Store,
    finetuning: FinetuneConfig,
    fixed_box: list[NDArray[np.int32]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = store.foreground(select_cases(store, "train")[0].case, None)[0]
    found: Callable[..., dict[int, NDArray[np.int32]]] = lambda self, case, labels: (  # noqa: E731
        {} if labels else {0: body}
    )
    monkeypatch.setattr(Store, "foreground", found)
    for number in range(10):
        read_labelled(store, select_cases(store, "train"), finetuning, number)
    assert all(given is body for given in fixed_box)


def test_cases_are_those_of_the_split_in_which_all_structures_are_annotated(
    store: Store, finetuning: FinetuneConfig
) -> None:
    train = select_cases(store, "train")
    assert [case.case for case in train] == sorted(case.case for case in train)
    assert annotated_cases(store, finetuning, "train") == train
    partly = replace(train[0], labels={"labels": (store.label_sets["labels"].structures["liver"],)})
    others = replace(store, catalog=Catalog((partly, *train[1:])))
    assert annotated_cases(others, finetuning, "train") == train[1:]


def test_an_unknown_label_set_is_refused(store: Store, finetuning: FinetuneConfig) -> None:
    with pytest.raises(StoreError, match=r"store: no label set 'organs'; it has: labels$"):
        annotated_cases(store, replace(finetuning, labels="organs"), "train")


def test_an_unknown_structure_is_refused(store: Store, finetuning: FinetuneConfig) -> None:
    with pytest.raises(DataError, match="label set labels has no structure gills; it has: aorta, bowel, "):
        annotated_cases(store, replace(finetuning, structures=("liver", "gills")), "train")


def test_no_annotated_case_is_refused(store: Store, finetuning: FinetuneConfig) -> None:
    train = replace(store, catalog=store.catalog.select("train"))
    message = "no case of the split `val` has all of liver, lungs annotated; prepare more labelled cases"
    with pytest.raises(StoreError, match=message):
        annotated_cases(train, finetuning, "val")


@pytest.mark.parametrize("body_aware", [True, False])
def test_regions_lie_about_the_body_or_anywhere(
    store: Store, pretraining: PretrainConfig, fixed_box: list[NDArray[np.int32]], body_aware: bool
) -> None:
    config = replace(pretraining, nesting=replace(pretraining.nesting, body_aware=body_aware))
    cases = select_cases(store, "train")[:1]
    read_region(store, cases, config, number=0)
    (voxels,) = fixed_box
    assert np.array_equal(voxels, store.foreground(cases[0].case, None)[0][: None if body_aware else 0])
