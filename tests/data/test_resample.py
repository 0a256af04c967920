"""Grids and interpolation against scipy and against what must hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from mim3d.data.resample import (
    halve,
    labels_to_grid,
    mean_of_blocks,
    needed_range,
    rescaled_affine,
    sample_linear,
    sample_nearest,
    to_spacing,
)
from mim3d.data.volume import Volume
from mim3d.geometry import Box, Triple, Vector

SIDES = st.tuples(*[st.integers(1, 9)] * 3)
STARTS = st.tuples(*[st.floats(-6, 8, width=32)] * 3)
SIZES = st.tuples(*[st.floats(0.25, 12, width=32)] * 3)
SPACINGS = st.tuples(*[st.floats(0.5, 4, width=32)] * 3)


def noise(shape: Triple, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-1024, 3072, shape).astype(np.int16)


def centres(box: Box, shape: Triple) -> NDArray[np.float64]:
    """Index coordinates (3, X, Y, Z) of the centres of the cells of a box, computed another way."""
    cells = [box.cell(0, shape).size[axis] for axis in range(3)]
    grid = np.indices(shape, dtype=float)
    return np.stack([box.start[axis] + (grid[axis] + 0.5) * cells[axis] - 0.5 for axis in range(3)])


@settings(max_examples=60, deadline=None)
@given(shape=SIDES, start=STARTS, size=SIZES, out=SIDES)
def test_linear_is_scipys_inside_and_padding_outside(
    shape: Triple, start: Vector, size: Vector, out: Triple
) -> None:
    array, box = noise(shape), Box(start, size)
    places = centres(box, out)
    expected = ndimage.map_coordinates(array.astype(float), places, order=1, mode="nearest")
    upper = np.reshape(shape, (3, 1, 1, 1)) - 0.5
    edge = (np.abs(places + 0.5) < 1e-6) | (np.abs(places - upper) < 1e-6)
    outside = ((places < -0.5) | (places >= upper)).any(axis=0)
    found = sample_linear(array, box, out, pad=-5000.0)
    clear = ~edge.any(axis=0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[clear], np.where(outside, -5000.0, expected)[clear], atol=2e-3)


def test_linear_leaves_whole_boxes_as_they_are() -> None:
    array = noise((7, 6, 5))
    np.testing.assert_array_equal(
        sample_linear(array, Box((1, 2, 0), (4, 3, 5)), (4, 3, 5), 0), array[1:5, 2:5]
    )


def test_linear_ends_where_the_volume_ends() -> None:
    found = sample_linear(np.ones((4, 1, 1)), Box((0, 0, 0), (4, 1, 1)), (8, 1, 1), 0.0, extent=(3.5, 1, 1))
    assert found.ravel().tolist() == [1.0] * 7 + [0.0]


@given(shape=SIDES, start=STARTS, size=SIZES, out=SIDES)
def test_the_needed_part_gives_what_the_whole_gives(
    shape: Triple, start: Vector, size: Vector, out: Triple
) -> None:
    array, box = noise(shape), Box(start, size)
    (x0, x1), (y0, y1), (z0, z1) = needed_range(box, out, shape)
    part = Box((start[0] - x0, start[1] - y0, start[2] - z0), size)
    extent = (float(shape[0] - x0), float(shape[1] - y0), float(shape[2] - z0))
    found = sample_linear(array[x0:x1, y0:y1, z0:z1], part, out, 7.0, extent)
    expected = sample_linear(array, box, out, 7.0)
    np.testing.assert_allclose(found, expected, atol=2e-2)


@given(shape=SIDES, start=STARTS, size=SIZES, out=SIDES)
def test_nearest_takes_the_voxel_that_holds_the_centre(
    shape: Triple, start: Vector, size: Vector, out: Triple
) -> None:
    array, box = noise(shape), Box(start, size)
    found = sample_nearest(array, box, out, pad=9999)
    index = np.floor(centres(box, out) + 0.5 + 1e-6).astype(int)
    inside = ((index >= 0) & (index < np.reshape(shape, (3, 1, 1, 1)))).all(axis=0)
    assert (found[~inside] == 9999).all()
    np.testing.assert_array_equal(found[inside], array[tuple(axis[inside] for axis in index)])


@given(shape=SIDES)
def test_halving_means_blocks_and_invents_nothing(shape: Triple) -> None:
    array = noise(shape)
    padded = np.pad(array, [(0, n % 2) for n in shape], mode="edge").astype(float)
    half = [n // 2 for n in padded.shape]
    blocks = padded.reshape(half[0], 2, half[1], 2, half[2], 2).mean(axis=(1, 3, 5))
    found = halve(array)
    assert found.dtype == np.int16
    assert np.abs(found - blocks).max() <= 0.5
    assert array.min() <= found.min() <= found.max() <= array.max()


def test_mean_of_blocks() -> None:
    array = noise((4, 6, 2)).astype(np.float32)
    expected = array.reshape(2, 2, 2, 3, 2, 1).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(mean_of_blocks(array, (2, 3, 1)), expected, rtol=1e-5, atol=1e-3)


@given(spacing=SPACINGS, target=SPACINGS)
def test_outer_edges_coincide(spacing: Vector, target: Vector) -> None:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-11.0, 4.0, 7.0)
    factor = (target[0] / spacing[0], target[1] / spacing[1], target[2] / spacing[2])
    edge = [-0.5, -0.5, -0.5, 1.0]
    np.testing.assert_allclose(rescaled_affine(affine, factor) @ edge, affine @ edge, atol=1e-9)
    np.testing.assert_allclose(np.diag(rescaled_affine(affine, factor))[:3], target)


def volume_of(array: NDArray[np.int16], spacing: Vector) -> Volume:
    return Volume(array, np.diag([*spacing, 1.0]))


def test_same_spacing_changes_nothing() -> None:
    volume = volume_of(noise((5, 4, 3)), (1.5, 1.5, 1.5))
    assert to_spacing(volume, (1.5, 1.5, 1.5)) is volume


def test_finer_is_linear() -> None:
    volume = volume_of(noise((5, 4, 3)), (3.0, 2.0, 1.0))
    found = to_spacing(volume, (1.5, 1.0, 1.0))
    expected = sample_linear(volume.array, Box((0, 0, 0), (5, 4, 3)), (10, 8, 3), 0)
    assert found.array.dtype == np.int16
    assert found.spacing == (1.5, 1.0, 1.0)
    np.testing.assert_allclose(found.array, expected, atol=0.5 + 1e-3)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_does_not_matter(order: str) -> None:
    array = noise((12, 9, 7))
    volume = volume_of(np.array(array, order="F" if order == "F" else "C"), (1.0, 1.0, 1.0))
    expected = to_spacing(volume_of(array, (1.0, 1.0, 1.0)), (1.5, 0.7, 2.0)).array
    assert np.abs(to_spacing(volume, (1.5, 0.7, 2.0)).array - expected).max() <= 1


def test_coarser_takes_the_mean_of_what_it_covers_and_no_alias() -> None:
    stripes = np.zeros((64, 3, 3), np.int16)
    stripes[::2] = 1000
    found = to_spacing(volume_of(stripes, (1.0, 1.0, 1.0)), (4.0, 1.0, 1.0)).array
    assert found.shape == (16, 3, 3)
    assert np.abs(found[1:-1] - 500).max() <= 1


@given(spacing=SPACINGS)
@settings(deadline=None)
def test_a_ramp_stays_a_ramp(spacing: Vector) -> None:
    ramp = np.broadcast_to(np.arange(40.0, dtype=np.float32)[:, None, None] * 10, (40, 4, 4)).copy()
    found = to_spacing(Volume(ramp, np.eye(4)), spacing).array[:, 0, 0]
    places = (np.arange(len(found)) + 0.5) * spacing[0] - 0.5
    inner = (places > 5) & (places < 34)
    np.testing.assert_allclose(found[inner], places[inner] * 10, atol=2e-2)


def test_labels_follow_the_image() -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2:4] = 7
    found = labels_to_grid(labels, (1.0, 1.0, 1.0), (0.5, 2.0, 1.0))
    assert found.shape == (12, 3, 6)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(np.flatnonzero(found[:, 0, 0]), [4, 5, 6, 7])


def balls(spacing: Vector) -> NDArray[np.uint16]:
    """Two balls of 14 mm radius side by side in a box of 60 mm, one of value 5, one of 1000."""
    shape = tuple(round(60 / side) for side in spacing)
    axes = [(np.arange(n) + 0.5) * side - 30 for n, side in zip(shape, spacing, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inside = (np.abs(x) - 15) ** 2 + y**2 + z**2 < 14**2
    return np.where(inside, np.where(x > 0, 1000, 5), 0).astype(np.uint16)


@given(spacing=SPACINGS, target=SPACINGS)
@settings(max_examples=10)
def test_no_label_is_invented_and_none_is_lost(spacing: Vector, target: Vector) -> None:
    found = labels_to_grid(balls(spacing), spacing, target)
    assert set(np.unique(found)) == {0, 5, 1000}


@pytest.mark.parametrize("target", [(1.0, 1.0, 1.0), (1.5, 1.5, 1.5), (3.0, 3.0, 3.0)])
@pytest.mark.parametrize("spacing", [(0.7, 0.7, 2.5), (1.0, 1.0, 1.0), (0.9, 0.9, 5.0), (3.0, 3.0, 3.0)])
def test_volumes_of_labels_stay(spacing: Vector, target: Vector) -> None:
    labels = balls(spacing)
    found = labels_to_grid(labels, spacing, target)
    for value in (5, 1000):
        before = np.count_nonzero(labels == value) * np.prod(spacing)
        after = np.count_nonzero(found == value) * np.prod(target)
        assert after == pytest.approx(before, rel=0.03)
