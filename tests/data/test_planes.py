import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mim3d.data.planes import AXIS, LETTERS, PLANES, Plane, display_box, display_plane, display_spacing
from mim3d.errors import GeometryError
from mim3d.geometry import Box

SHAPE = (4, 5, 6)
STEPS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


@pytest.mark.parametrize("plane", PLANES)
def test_each_edge_shows_what_its_letter_says(plane: Plane) -> None:
    places = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    axes = [display_plane(places[..., axis], plane, 2) for axis in range(3)]
    shown = np.stack(axes, axis=-1)  # (R, K, 3), the voxel shown at each pixel
    middle = shown[1, 1]
    neighbours = (shown[0, 1], shown[2, 1], shown[1, 0], shown[1, 2])
    for letter, neighbour in zip(LETTERS[plane], neighbours, strict=True):
        assert tuple(neighbour - middle) == STEPS[letter]


def test_the_liver_is_on_the_left_of_the_picture_and_the_spine_at_the_bottom() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3, 2, 1] = 1  # right
    labels[1, 0, 1] = 2  # back
    shown = display_plane(labels, "axial", 1)
    assert shown.shape == (5, 4)
    assert shown.dtype == np.uint8
    assert shown[2, 0] == 1
    assert shown[4, 2] == 2


@pytest.mark.parametrize("index", [-1, 6])
def test_an_index_outside_is_refused(index: int) -> None:
    message = f"axial plane {index} lies outside the volume; needed: 0 to 5"
    with pytest.raises(GeometryError, match=message):
        display_plane(np.zeros(SHAPE), "axial", index)


def test_an_array_without_three_axes_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"needs a volume \(X, Y, Z\), got an array of shape \(4, 5\)"):
        display_plane(np.zeros((4, 5)), "axial", 0)


def test_pixel_sizes() -> None:
    assert display_spacing((1.0, 2.0, 3.0), "axial") == (2.0, 1.0)
    assert display_spacing((1.0, 2.0, 3.0), "coronal") == (3.0, 1.0)
    assert display_spacing((1.0, 2.0, 3.0), "sagittal") == (3.0, 2.0)


@given(data=st.data(), plane=st.sampled_from(PLANES))
def test_a_box_is_shown_where_its_voxels_are(data: st.DataObject, plane: Plane) -> None:
    start = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    size = [data.draw(st.integers(1, n - s)) for n, s in zip(SHAPE, start, strict=True)]
    box = Box((start[0], start[1], start[2]), (size[0], size[1], size[2]))
    volume = np.zeros(SHAPE, bool)
    volume[box.slices] = True
    shown = display_plane(volume, plane, start[AXIS[plane]])
    top, left, height, width = (int(value) for value in display_box(box, SHAPE, plane))
    drawn = np.zeros_like(shown)
    drawn[top : top + height, left : left + width] = True
    assert np.array_equal(shown, drawn)
