"""Sheared volumes: set upright where that is rounding, resampled where it is not, and nothing is moved."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.data.straighten import straight_grid, straightened
from mim3d.data.volume import Volume
from mim3d.errors import DataError


def sheared(by: float, shape: tuple[int, int, int] = (20, 24, 16)) -> Volume:
    """Slices of a tilted gantry: each lies `by` mm further along Y than the one below, 2 mm apart."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = (-5.0, 3.0, 7.0)
    affine[1, 2] = by
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = places @ affine[:3, :3].T + affine[:3, 3]
    return Volume(ball(world), affine)


def ball(world: NDArray[Any]) -> NDArray[np.int16]:
    """Intensity of a place in mm: a blurred ball around (5, 16, 23)."""
    distance = np.linalg.norm(world - (5.0, 16.0, 23.0), axis=-1)
    intensity: NDArray[np.int16] = np.rint(1000 * np.exp(-((distance / 5) ** 2))).astype(np.int16)
    return intensity


def test_right_angles_stay_as_they_are() -> None:
    volume = sheared(0.0)
    grid = straight_grid(volume)
    assert (grid.note, grid.resampled, grid.shape) == ("", False, volume.shape)
    assert grid.affine is volume.affine
    assert straightened(volume, grid, outside=0, order=1) is volume.array


def test_rounding_is_set_upright() -> None:
    volume = sheared(0.004)
    grid = straight_grid(volume)
    assert not grid.resampled
    assert grid.note.startswith(
        "its axes are 0.11 degrees off right angles: set upright, corners move 0.02 mm"
    )
    axes = grid.affine[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.diag(np.diag(axes.T @ axes)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=0), volume.spacing)


@pytest.mark.parametrize("by", [0.5, -1.0])
def test_a_tilted_gantry_is_resampled(by: float) -> None:
    volume = sheared(by)
    grid = straight_grid(volume)
    assert grid.resampled
    assert (
        grid.note
        == f"its axes are {np.degrees(np.arctan(abs(by) / 2)):.3g} degrees off right angles: resampled"
    )
    np.testing.assert_allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), [1, 1, 2])
    assert grid.shape == (20, 24 + round(15.5 * abs(by) + 0.5 * abs(by)), 16)
    array = straightened(volume, grid, outside=-7, order=1)
    places = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    expected = ball(places @ grid.affine[:3, :3].T + grid.affine[:3, 3])
    inside = array != -7
    assert np.abs(array[inside].astype(int) - expected[inside]).max() < 30  # of 1000: linear interpolation
    assert array.dtype == np.int16
    assert array.max() > 950


def test_labels_take_the_nearest_and_nothing_else() -> None:
    volume = sheared(0.7)
    labels = np.where(volume.array > 500, 300, np.where(volume.array > 100, 7, 0)).astype(np.uint16)
    turned = straightened(Volume(labels, volume.affine), straight_grid(volume), outside=0, order=0)
    assert set(np.unique(turned)) == {0, 7, 300}
    for value in (7, 300):  # voxels are of one size on both grids
        assert np.count_nonzero(turned == value) == pytest.approx(np.count_nonzero(labels == value), rel=0.05)


def test_what_is_too_askew_is_refused() -> None:
    with pytest.raises(DataError, match="its axes are 56 degrees off right angles; up to 45 are resampled"):
        straight_grid(sheared(3.0))
