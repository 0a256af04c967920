from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.config import PretrainConfig, Window
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple, triple
from mim3d.sampling import crops as module
from mim3d.sampling.crops import read_region, select_cases

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


@pytest.mark.parametrize("body_aware", [True, False])
def test_regions_lie_about_the_body_or_anywhere(
    store: Store, pretraining: PretrainConfig, fixed_box: list[NDArray[np.int32]], body_aware: bool
) -> None:
    config = replace(pretraining, nesting=replace(pretraining.nesting, body_aware=body_aware))
    cases = select_cases(store, "train")[:1]
    read_region(store, cases, config, number=0)
    (voxels,) = fixed_box
    assert np.array_equal(voxels, store.foreground(cases[0].case, None)[0][: None if body_aware else 0])
