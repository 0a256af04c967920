import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mim3d.metrics.lesions import Lesions, count_lesions

SPACING = (1.0, 1.0, 2.0)


def boxes(*places: tuple[slice, ...]) -> NDArray[np.bool_]:
    lesions = np.zeros((12, 12, 12), bool)
    for place in places:
        lesions[place] = True
    return lesions


def cube(start: int, side: int = 2) -> tuple[slice, ...]:
    return (slice(start, start + side),) * 3


def test_lesions_are_found_missed_and_invented() -> None:
    truth, predicted = boxes(cube(0), cube(4)), boxes(cube(0), cube(8))
    assert count_lesions(predicted, truth, SPACING) == Lesions(truth=2, found=1, false_positives=1)
    assert count_lesions(truth, truth, SPACING) == Lesions(truth=2, found=2, false_positives=0)


def test_voxels_that_share_a_corner_are_one_lesion() -> None:
    truth = boxes(cube(0), cube(2))
    assert count_lesions(truth, truth, SPACING).truth == 1
    assert count_lesions(truth, boxes(cube(0), cube(3)), SPACING).truth == 2


@pytest.mark.parametrize(("length", "found"), [(9, 1), (10, 1), (11, 0)])
def test_a_tenth_of_the_union_is_enough(length: int, found: int) -> None:
    truth, predicted = boxes((slice(0, 1),) * 3), boxes((slice(0, 1), slice(0, 1), slice(0, length)))
    expected = Lesions(truth=1, found=found, false_positives=1 - found)
    assert count_lesions(predicted, truth, SPACING) == expected


def test_one_prediction_over_two_lesions_finds_one() -> None:
    line = (slice(0, 1), slice(0, 1))
    truth, predicted = boxes((*line, slice(0, 3)), (*line, slice(4, 7))), boxes((*line, slice(0, 7)))
    assert count_lesions(predicted, truth, SPACING) == Lesions(truth=2, found=1, false_positives=0)


def test_two_predictions_on_one_lesion_are_one_find_and_nothing_invented() -> None:
    truth = boxes((slice(0, 2), slice(0, 2), slice(0, 9)))
    predicted = boxes(cube(0), (slice(0, 2), slice(0, 2), slice(4, 9)))
    assert count_lesions(predicted, truth, SPACING) == Lesions(truth=1, found=1, false_positives=0)


def test_as_many_pairs_as_there_can_be() -> None:
    """The long prediction overlaps the upper lesion more, but the short one can be nothing else."""
    line = (slice(0, 1), slice(0, 1))
    truth = boxes((*line, slice(0, 3)), (*line, slice(4, 10)))
    predicted = boxes((*line, slice(2, 8)), (*line, slice(9, 10)))
    assert count_lesions(predicted, truth, SPACING) == Lesions(truth=2, found=2, false_positives=0)


def test_small_lesions_neither_count_nor_cost() -> None:
    small, large = cube(0), cube(4, side=4)  # 16 and 128 mm^3
    truth = boxes(small, large)
    assert count_lesions(truth, truth, SPACING, 16.0).truth == 2
    over_small = boxes((slice(0, 3), slice(0, 3), slice(0, 3)))  # 54 mm^3 where a small one lies
    for predicted, found in ((truth, 1), (boxes(large), 1), (boxes(cube(10)), 0), (over_small, 0)):
        expected = Lesions(truth=1, found=found, false_positives=0, smallest_mm3=16.1)
        assert count_lesions(predicted, truth, SPACING, 16.1) == expected


def test_nothing_anywhere() -> None:
    nothing = boxes()
    assert count_lesions(nothing, nothing, SPACING) == Lesions(truth=0, found=0, false_positives=0)
    assert count_lesions(boxes(cube(0)), nothing, SPACING).false_positives == 1
    empty = np.zeros((0, 0, 0), bool)
    assert count_lesions(empty, empty, SPACING) == Lesions(truth=0, found=0, false_positives=0)


@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.3))
def test_agrees_with_counting_by_hand(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    predicted, truth = random.random((2, 5, 5, 4)) < share
    ours, theirs = components(predicted), components(truth)
    can_be = [[len(a & b) / len(a | b) >= 0.1 for b in theirs] for a in ours]
    found = most_pairs(can_be, len(theirs))
    expected = Lesions(truth=len(theirs), found=found, false_positives=sum(not any(row) for row in can_be))
    assert count_lesions(predicted, truth, SPACING) == expected


def components(structure: NDArray[np.bool_]) -> list[set[tuple[int, ...]]]:
    """Voxels that can be walked between, a step being at most 1 along each axis."""
    left = {tuple(map(int, place)) for place in np.argwhere(structure)}
    found = []
    while left:
        lesion, edge = set(), [left.pop()]
        while edge:
            at = edge.pop()
            lesion.add(at)
            near = {other for other in left if max(abs(a - b) for a, b in zip(at, other, strict=True)) <= 1}
            left -= near
            edge += near
        found.append(lesion)
    return found


def most_pairs(can_be: list[list[bool]], width: int) -> int:
    """The largest number of pairs, by trying: a row takes a free column, or makes its holder move on."""
    holder: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in range(width):
            if can_be[row][column] and column not in tried:
                tried.add(column)
                if column not in holder or place(holder[column], tried):
                    holder[column] = row
                    return True
        return False

    return sum(place(row, set()) for row in range(len(can_be)))
