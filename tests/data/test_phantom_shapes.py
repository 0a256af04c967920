from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mim3d.data.phantom_canvas import Canvas, Tissue, blank_canvas, paint
from mim3d.data.phantom_shapes import (
    ellipse,
    ellipsoid,
    ellipsoid_at,
    join,
    meet,
    smooth_path,
    tube,
    wandering_path,
)

LENGTHS = st.floats(-100, 100, width=32)
DISTANCES = arrays(np.float32, 8, elements=LENGTHS)


@pytest.fixture(name="canvas", scope="module")
def draw_blank() -> Canvas:
    return blank_canvas(np.random.default_rng(0), (32, 32, 32), 9.0)


@given(place=arrays(np.float32, 3, elements=LENGTHS), radius=st.floats(1, 50))
def test_a_round_ellipsoid_is_a_sphere(place: NDArray[np.float32], radius: float) -> None:
    distance = ellipsoid(place[:1], place[1:2], place[2:], (radius,) * 3)
    if np.linalg.norm(place) > 1e-3:
        assert distance[0] == pytest.approx(np.linalg.norm(place) - radius, rel=1e-4, abs=1e-3)


@given(angle=st.floats(0, 6.3), height=st.floats(-1, 1))
def test_an_ellipsoid_is_zero_on_its_surface_and_has_unit_slope(angle: float, height: float) -> None:
    radii = np.array([30.0, 20.0, 10.0])
    flat = np.sqrt(1 - height * height)
    surface = radii * np.array([flat * np.cos(angle), flat * np.sin(angle), height])
    normal = surface / radii**2 / np.linalg.norm(surface / radii**2)

    def distance(place: NDArray[np.float64]) -> float:
        x, y, z = (np.array([c]) for c in place)
        return float(ellipsoid(x, y, z, (30, 20, 10))[0])

    assert distance(surface) == pytest.approx(0, abs=1e-6)
    assert distance(surface + 0.01 * normal) == pytest.approx(0.01, rel=0.05)


def test_an_elliptic_cylinder_is_an_ellipsoid_without_end() -> None:
    x, y = np.meshgrid(np.linspace(-40, 40, 9), np.linspace(-40, 40, 9))
    np.testing.assert_allclose(ellipse(x, y, (20, 10)), ellipsoid(x, y, 0 * x, (20, 10, 5)))


@given(first=DISTANCES, second=DISTANCES, blend=st.floats(0.5, 20))
def test_rounding_moves_a_surface_by_a_quarter_of_the_blend_at_most(
    first: Any, second: Any, blend: float
) -> None:
    least, most = np.minimum(first, second), np.maximum(first, second)
    joined, met = join(first, second, blend), meet(first, second, blend)
    assert np.all(joined <= least + 1e-3)
    assert np.all(joined >= least - blend / 4 - 1e-3)
    assert np.all(met >= most - 1e-3)
    assert np.all(met <= most + blend / 4 + 1e-3)


def test_a_tube_is_the_distance_to_its_line_near_it(canvas: Canvas) -> None:
    ends = np.array([[-20.0, 5, -30], [25, -10, 40]])
    distance = tube(canvas, ends, np.array([6.0, 6.0]))
    places = np.stack([canvas.x, canvas.y, canvas.z], axis=-1)
    along = ends[1] - ends[0]
    t = np.clip(((places - ends[0]) @ along) / (along @ along), 0, 1)
    truth = np.linalg.norm(places - ends[0] - t[..., None] * along, axis=-1) - 6
    np.testing.assert_allclose(distance[truth < 5], truth[truth < 5], atol=1e-3)
    assert distance[truth > 5].min() > 4.99


def test_a_tube_outside_the_canvas_is_far_away(canvas: Canvas) -> None:
    far = tube(canvas, np.array([[500.0, 0, 0], [600, 0, 0]]), np.array([5.0, 5.0]))
    assert far.min() == 1000


def test_a_path_goes_through_its_corners() -> None:
    corners = np.array([[0.0, 0, 0], [10, 5, 0], [20, -5, 3], [40, 0, 9]])
    np.testing.assert_allclose(smooth_path(corners, 31)[::10], corners, atol=1e-12)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_a_walk_has_equal_steps_and_comes_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = wandering_path(rng, np.zeros(3), (0, 0, 0), (50, 40, 60), 60, 10.0)
    np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0), axis=1), 10)
    assert np.linalg.norm(path / np.array([50, 40, 60]), axis=1).max() < 2


def test_a_painted_ball_has_its_volume_by_partial_volume(canvas: Canvas) -> None:
    paint(canvas, ellipsoid_at(canvas, (0, 0, 0), (50, 50, 50)), Tissue(0, 0), 3)
    stretch = np.array(
        [np.gradient(places, axis=n) for n, places in enumerate((canvas.x, canvas.y, canvas.z))]
    )
    volume = ((canvas.hu + 1000) / 1000 * stretch.prod(axis=0)).sum()
    assert volume == pytest.approx(4 / 3 * np.pi * 50**3, rel=0.03)
    assert set(np.unique(canvas.labels)) == {0, 3}
    assert (canvas.hu[canvas.labels == 3] >= -500.01).all()
