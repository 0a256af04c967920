import numpy as np
import pytest
from numpy.random import default_rng

from mim3d.data.phantom_canvas import (
    REACH,
    TORSO,
    Tissue,
    around,
    blank_canvas,
    crop,
    jitter,
    paint,
    smooth_field,
    torso_axes,
)
from mim3d.geometry import Triple


@pytest.mark.parametrize(
    ("shape", "spacing"), [((96, 96, 96), 3.0), ((48, 48, 48), 6.0), ((64, 80, 33), 1.5)]
)
def test_the_torso_fills_any_field_of_view(shape: Triple, spacing: float) -> None:
    axes = torso_axes(shape, spacing)
    assert [len(axis) for axis in axes] == list(shape)
    for axis in axes:
        np.testing.assert_allclose(axis, -axis[::-1], atol=1e-4)
    z_side = axes[2][1] - axes[2][0]
    assert z_side * shape[2] == pytest.approx(TORSO, rel=1e-5)
    assert (axes[0][1] - axes[0][0]) * shape[0] >= TORSO * 0.999


def test_a_field_has_unit_deviation_and_its_length() -> None:
    axes = torso_axes((96, 96, 96), 3.0)
    field = smooth_field(default_rng(0), axes, 8.0)
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=0.05)
    assert field.std() == pytest.approx(1, abs=0.05)
    near = np.corrcoef(field[1:].ravel(), field[:-1].ravel())[0, 1]
    far = np.corrcoef(field[12:].ravel(), field[:-12].ravel())[0, 1]
    assert near > 0.8
    assert abs(far) < 0.05


def test_a_field_does_not_depend_on_the_grid_it_is_looked_at() -> None:
    axes = torso_axes((64, 64, 64), 4.5)
    whole = smooth_field(default_rng(1), axes, 30.0)
    x, y, z = axes
    np.testing.assert_array_equal(smooth_field(default_rng(1), (x[5:9], y, z[::2]), 30.0), whole[5:9, :, ::2])


def test_a_crop_shares_memory_and_misses_nothing() -> None:
    canvas = blank_canvas(default_rng(0), (48, 48, 48), 6.0)
    part = crop(canvas, (-30, -20, 0), (30, 20, 40))
    part.hu[...] = 7
    inside = (abs(canvas.x) < 30) & (abs(canvas.y) < 20) & (canvas.z > 0) & (canvas.z < 40)
    assert (canvas.hu[inside] == 7).all()
    assert (canvas.hu == -1000).any()
    assert part.hu.shape == tuple(len(axis) for axis in part.axes)
    assert part.axes[0].min() >= -30 - REACH


def test_paint_mixes_on_the_edge_and_labels_the_inside() -> None:
    canvas = blank_canvas(default_rng(0), (32, 32, 32), 9.0)
    distance = np.full(canvas.hu.shape, 99.0)
    distance[0, 0, :4] = np.array([-1, -0.25, 0.25, 1]) * canvas.voxel
    paint(canvas, distance, Tissue(0, 0), 5)
    np.testing.assert_allclose(canvas.hu[0, 0, :5], [0, -250, -750, -1000, -1000])
    assert canvas.labels[0, 0, :5].tolist() == [5, 5, 0, 0, 0]
    paint(canvas, distance, Tissue(0, 0))
    assert not canvas.labels.any()


def test_draws_stay_near() -> None:
    rng = default_rng(0)
    assert all(8 <= around(rng, 10, 0.2) <= 12 for _ in range(50))
    assert all(abs(c) <= 3 for _ in range(50) for c in jitter(rng, (0, 0, 0), 3))
