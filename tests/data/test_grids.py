import numpy as np
import pytest

from mim3d.data.grids import corner_distance, is_usable, joined, letters, spacing_of, working_shape


def test_working_shape_rounds_and_never_vanishes() -> None:
    assert working_shape((512, 512, 133), (0.7, 0.7, 2.5), (1.5, 1.5, 1.5)) == (239, 239, 222)
    assert working_shape((1, 2, 3), (0.1, 0.1, 3.0), (1.5, 1.5, 1.5)) == (1, 1, 6)


def test_grids_are_as_far_apart_as_their_farthest_corners() -> None:
    one = np.diag([1.0, 2.0, 3.0, 1.0])
    moved, stretched = one.copy(), one.copy()
    moved[:3, 3] = [3.0, 0.0, 4.0]
    stretched[0, 0] = 1.1  # about voxel (0, 0, 0), whose outer corner lies half a voxel before its centre
    assert corner_distance(one, one, (4, 5, 6)) == 0
    assert corner_distance(one, moved, (4, 5, 6)) == pytest.approx(5.0)
    assert corner_distance(one, stretched, (4, 5, 6)) == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("columns", "usable"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], True),
        ([[1, 0, 0], [0, 1e-4, 0], [0, 0, 1]], True),
        ([[1, 0, 0], [1, 0, 0], [0, 0, 1]], False),
        ([[1, 0, 0], [0, 0, 0], [0, 0, 1]], False),
        ([[1, 0, 0], [0, np.nan, 0], [0, 0, 1]], False),
    ],
)
def test_an_affine_is_usable_with_three_independent_axes(columns: list[list[float]], usable: bool) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(columns)
    assert is_usable(affine) is usable


def test_axes_are_told_by_spacing_and_direction() -> None:
    affine = np.array([[0, 0, 3.0, 0], [-1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    assert spacing_of(affine) == (1.0, 2.0, 3.0)
    assert letters(affine) == "PSR"


def test_notes_are_joined_without_empty_ones_and_repetitions() -> None:
    assert joined("", "a", "b", "a", "") == "a; b"
    assert joined("", "") == ""
