from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mim3d.data.labels import LabelSet
from mim3d.data.rtstruct import _edges, _even_odd, label_map, matching, read_rtstruct
from mim3d.data.volume import Volume, canonical, read_volume
from mim3d.errors import DataError

Write = Callable[..., Any]
AFFINE = np.array([[-2.0, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2.5, 0], [0, 0, 0, 1]])
VOLUME = Volume(np.zeros((12, 10, 6), np.int16), AFFINE)


def outline(corners: list[tuple[float, float]], z: float) -> NDArray[np.float64]:
    """Corners (N, 2) in voxels of `VOLUME` in slice z as LPS+ mm (N, 3)."""
    points = np.array([[x, y, z, 1.0] for x, y in corners])
    return np.asarray((points @ AFFINE.T)[:, :3] * [-1, -1, 1])


def square(lower: float, upper: float) -> list[tuple[float, float]]:
    return [(lower, lower), (upper, lower), (upper, upper), (lower, upper)]


def reference(corners: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Even-odd rule, one voxel and one edge at a time."""
    inside = np.zeros(shape, bool)
    for row, column in np.ndindex(*shape):
        for (r0, c0), (r1, c1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if (r0 <= row) != (r1 <= row) and c0 + (row - r0) * (c1 - c0) / (r1 - r0) <= column:
                inside[row, column] ^= True
    return inside


PLACE = st.floats(-2, 9).map(lambda value: round(value, 2))


@given(corners=st.lists(st.tuples(PLACE, PLACE), min_size=3, max_size=9))
def test_filling_follows_the_even_odd_rule(corners: list[tuple[float, float]]) -> None:
    points = np.array(corners)
    filled = _even_odd(_edges(points, 1), (3, 8, 7))
    differs = filled[1] != reference(points, (8, 7))
    crossings = [
        c0 + (row - r0) * (c1 - c0) / (r1 - r0) - column
        for row, column in np.argwhere(differs)
        for (r0, c0), (r1, c1) in zip(points, np.roll(points, -1, axis=0), strict=True)
        if (r0 <= row) != (r1 <= row)
    ]
    assert not differs.any() or min(map(abs, crossings)) < 1e-9  # only where rounding decides
    assert not filled[[0, 2]].any()


def test_outlines_fill_the_voxels_whose_centres_they_hold(tmp_path: Path, write_rtstruct: Write) -> None:
    path = write_rtstruct(
        tmp_path / "a.dcm", {"GTV": [outline(square(1.5, 4.5), 2), outline(square(0, 3), 4)]}
    )
    mask = read_rtstruct(path, VOLUME)["GTV"]
    expected = np.zeros(VOLUME.shape, bool)
    expected[2:5, 2:5, 2] = True
    expected[0:3, 0:3, 4] = True  # a centre on an outline belongs to its lower side
    np.testing.assert_array_equal(mask, expected)


def test_outlines_within_outlines_and_keyholes_are_holes(tmp_path: Path, write_rtstruct: Write) -> None:
    outer, inner = square(0.5, 7.5), square(2.5, 5.5)
    keyhole = [*outer, outer[0], *inner[::-1], inner[-1]]
    path = write_rtstruct(
        tmp_path / "a.dcm",
        {"two": [outline(outer, 1), outline(inner, 1)], "keyhole": [outline(keyhole, 1)]},
    )
    masks = read_rtstruct(path, VOLUME)
    expected = np.zeros(VOLUME.shape, bool)
    expected[1:8, 1:8, 1] = True
    expected[3:6, 3:6, 1] = False
    np.testing.assert_array_equal(masks["two"], expected)
    np.testing.assert_array_equal(masks["keyhole"], expected)


def test_structures_follow_the_volume_s_axes(tmp_path: Path, write_rtstruct: Write) -> None:
    path = write_rtstruct(tmp_path / "a.dcm", {"GTV": [outline([(1.3, 1.45), (8.6, 2.35), (3.7, 6.6)], 3)]})
    turned = Volume(np.transpose(VOLUME.array, (2, 0, 1)), AFFINE[:, [2, 0, 1, 3]])
    mask = read_rtstruct(path, VOLUME)["GTV"]
    assert mask.sum() > 5
    np.testing.assert_array_equal(read_rtstruct(path, turned)["GTV"], np.transpose(mask, (2, 0, 1)))
    flipped = canonical(VOLUME)
    moved = read_rtstruct(path, flipped)["GTV"]
    np.testing.assert_array_equal(moved, mask[::-1, ::-1])


def test_of_several_planes_in_a_slice_the_nearest_counts(tmp_path: Path, write_rtstruct: Write) -> None:
    near, far = outline(square(0.5, 2.5), 2.1), outline(square(0.5, 6.5), 1.7)
    mask = read_rtstruct(write_rtstruct(tmp_path / "a.dcm", {"GTV": [far, near]}), VOLUME)["GTV"]
    assert mask.sum() == 4
    assert mask[1:3, 1:3, 2].all()


def test_points_and_outlines_beyond_the_scan_are_left_out(tmp_path: Path, write_rtstruct: Write) -> None:
    inside, outside = outline(square(7.5, 30.5), 5), outline(square(0.5, 2.5), 9)
    mask = read_rtstruct(write_rtstruct(tmp_path / "a.dcm", {"GTV": [inside, outside]}), VOLUME)["GTV"]
    assert mask.sum() == mask[8:, 8:, 5].sum() == 8
    points = write_rtstruct(tmp_path / "b.dcm", {"mark": [outline(square(1, 2), 1)]}, kind="POINT")
    assert read_rtstruct(points, VOLUME) == {}


def test_outlines_of_another_scan_are_refused(tmp_path: Path, write_rtstruct: Write) -> None:
    path = write_rtstruct(tmp_path / "a.dcm", {"GTV": [outline(square(0.5, 2.5), 9)]})
    with pytest.raises(DataError, match=r"^a\.dcm: structure GTV: all outlines lie outside the scan; give"):
        read_rtstruct(path, VOLUME)
    oblique = outline(square(0.5, 5.5), 2) + np.array([[0, 0, 0], [2, 0, 9], [4, 1, 9], [0, 1, 0]])
    path = write_rtstruct(tmp_path / "b.dcm", {"GTV": [oblique]})
    with pytest.raises(
        DataError, match=r"structure GTV: its outlines run across .* slices; each must lie in"
    ):
        read_rtstruct(path, VOLUME)


def test_only_an_rtstruct_is_read(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path)
    with pytest.raises(DataError, match=r"^0\.dcm: not a DICOM RTSTRUCT file; outlines"):
        read_rtstruct(tmp_path / "0.dcm", VOLUME)


def test_outlines_lie_on_the_series_they_were_drawn_on(
    tmp_path: Path, write_series: Write, write_rtstruct: Write
) -> None:
    write_series(tmp_path)
    volume = read_volume(tmp_path)
    corners = [(-9.0, -19.8, 5.0), (-5.0, -19.8, 5.0), (-5.0, -18.9, 5.0), (-9.0, -18.9, 5.0)]  # LPS+ mm
    mask = read_rtstruct(write_rtstruct(tmp_path / "rs.dcm", {"GTV": [corners]}), volume)["GTV"]
    assert np.argwhere(mask).tolist() == [[1, 1, 2], [1, 2, 2], [2, 1, 2], [2, 2, 2]]


def test_names_match_but_for_case_and_number() -> None:
    names = ["GTV-1", "gtv 2", "GTV_boost", "CTV", "Lung"]
    assert matching("gtv", names) == ["GTV-1", "gtv 2"]
    assert matching("gtv", [*names, "Gtv"]) == ["Gtv"]
    assert matching("ptv", names) == []


def test_label_map_joins_numbered_outlines() -> None:
    one, two, other = np.eye(3, dtype=bool)[:, :, None]
    masks = {"GTV-1": one, "GTV-2": two, "Lung": other | one}
    labels = label_map(masks, LabelSet("set", {"lung": 7, "gtv": 2, "heart": 4}), (3, 1, 1))
    assert labels.ravel().tolist() == [2, 2, 7]
    assert labels.dtype == np.uint16


def test_outlines_that_the_set_does_not_name_are_refused() -> None:
    with pytest.raises(
        DataError, match="label set organs names liver, but the outlines are of GTV; name one"
    ):
        label_map({"GTV": np.ones((1, 1, 1), bool)}, LabelSet("organs", {"liver": 1}), (1, 1, 1))
