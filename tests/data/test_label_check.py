"""Which label maps fit their scan, and what is said of those that do."""

import numpy as np
import pytest

from mim3d.data.label_check import checked_labels, labels_note, require_same_grid
from mim3d.data.labels import LabelSet
from mim3d.data.volume import Volume
from mim3d.errors import DataError

ORGANS = LabelSet("organs", {"liver": 1, "spleen": 3}, ignore=9)


def volume(shift: float = 0.0, spacing: float = 2.0, shape: tuple[int, int, int] = (5, 6, 7)) -> Volume:
    affine = np.diag([spacing, 2.0, 3.0, 1.0])
    affine[0, 3] = shift
    return Volume(np.zeros(shape, np.int16), affine)


def test_grids_that_differ_by_rounding_are_one() -> None:
    require_same_grid(volume(), volume(shift=0.01))
    require_same_grid(volume(), volume(spacing=2.0001))


def test_grids_that_differ_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"the label map has \(5, 6, 8\) voxels, its scan \(5, 6, 7\); both must lie"
    ):
        require_same_grid(volume(), volume(shape=(5, 6, 8)))
    with pytest.raises(DataError, match=r"lies up to 1\.00 mm off its scan \(2 x 2 x 3 against 2 x 2 x 3 mm"):
        require_same_grid(volume(), volume(shift=1.0))
    with pytest.raises(
        DataError, match=r"lies up to 0\.45 mm off its scan \(2\.1 x 2 x 3 against 2 x 2 x 3 mm"
    ):
        require_same_grid(volume(), volume(spacing=2.1))


def test_label_values_must_be_named() -> None:
    assert checked_labels(np.array([0.0, 1.0, 3.0, 9.0]), ORGANS).dtype == np.uint8
    assert checked_labels(np.array([0]), LabelSet("many", {"a": 300})).dtype == np.uint16
    with pytest.raises(
        DataError, match=r"holds the values -1, 0\.5, 2, which label set organs does not name"
    ):
        checked_labels(np.array([0, 0.5, 1, 2, -1]), ORGANS)


def test_whole_numbers_may_come_as_floats() -> None:
    checked = checked_labels(np.array([0.0, 1.0, 2.9999998, 9.0], np.float32), ORGANS)
    assert checked.tolist() == [0, 1, 3, 9]
    assert checked.dtype == np.uint8
    with pytest.raises(DataError, match=r"holds the values 0\.25, 0\.75, which"):
        checked_labels(np.array([0.0, 0.25, 0.75, 1.0]), ORGANS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_values_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(DataError, match=rf"holds the values {value:g}, which label set organs does not name"):
        checked_labels(np.array([0.0, value, 1.0]), ORGANS)


def test_many_unknown_values_are_counted() -> None:
    with pytest.raises(DataError, match=r"the values 4, 5, 6, 7, 8 and 3 more, which label set organs"):
        checked_labels(np.array([0, 1, 4, 5, 6, 7, 8, 10, 11, 12]), ORGANS)


def test_what_a_label_map_shows_is_said() -> None:
    assert labels_note(np.array([0, 1, 9], np.uint8), ORGANS, (1, 3)) == ""
    assert labels_note(np.array([0, 9], np.uint8), ORGANS, (1, 3)) == "no structure of organs occurs"
    stray = labels_note(np.array([0, 1, 3], np.uint8), ORGANS, (1,))
    assert stray == "shows spleen, said not to be annotated"
