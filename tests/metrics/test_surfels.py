import numpy as np
import pytest

from mim3d.metrics.surfels import CORNERS, surfel_areas, surfel_normals


def code_of(*inside: tuple[int, int, int]) -> int:
    return sum(1 << CORNERS.index(corner) for corner in inside)


def test_a_flat_surfel_has_the_area_of_the_face() -> None:
    areas = surfel_areas((2.0, 3.0, 5.0))
    lower_x = code_of((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1))
    assert areas[lower_x] == pytest.approx(15.0)


def test_a_corner_cuts_off_a_triangle() -> None:
    assert surfel_areas((1.0, 1.0, 1.0))[code_of((0, 0, 0))] == pytest.approx(np.sqrt(3) / 8)


def test_an_edge_cuts_off_a_slanted_rectangle() -> None:
    areas = surfel_areas((3.0, 4.0, 10.0))
    assert areas[code_of((0, 0, 0), (0, 0, 1))] == pytest.approx(10.0 * 2.5)


def test_inside_and_outside_have_the_same_surface() -> None:
    areas = surfel_areas((0.7, 1.1, 2.5))
    assert np.allclose(areas, areas[::-1])
    assert areas[0] == areas[255] == 0


@pytest.mark.parametrize("axis", range(3))
def test_mirrored_codes_have_the_same_area(axis: int) -> None:
    areas = surfel_areas((0.7, 1.1, 2.5))
    for code in range(256):
        inside = [corner for bit, corner in enumerate(CORNERS) if code >> bit & 1]
        mirrored = code_of(*((*c[:axis], 1 - c[axis], *c[axis + 1 :]) for c in inside))  # type: ignore[arg-type]
        assert areas[mirrored] == pytest.approx(areas[code], abs=1e-12)


def test_at_most_four_triangles() -> None:
    assert {len(normals) for normals in surfel_normals()} == {0, 1, 2, 3, 4}
