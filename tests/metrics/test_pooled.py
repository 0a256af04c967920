from collections.abc import Callable

import pytest

from mim3d.metrics.comparison import Side
from mim3d.metrics.evaluation import Evaluation
from mim3d.metrics.pooled import pooled, spread, spreads

MakeSide = Callable[..., Side]


@pytest.fixture
def found(side: MakeSide) -> dict[tuple[int, int], Evaluation]:
    """Two folds of two cases each and two seeds; the second seed is better by 0.1."""
    dices = {(0, 3): [0.4, 0.6], (1, 3): [0.7, 0.9], (0, 5): [0.5, 0.7], (1, 5): [0.8, 1.0]}
    return {
        place: side("run", {"liver": values, "spleen": [None, None]}).evaluation
        for place, values in dices.items()
    }


def test_cases_of_all_folds_are_pooled_with_their_seed(found: dict[tuple[int, int], Evaluation]) -> None:
    whole = pooled(found)
    assert [case.seed for case in whole.cases] == [3, 3, 3, 3, 5, 5, 5, 5]
    liver = whole.structures[0]
    assert liver.dice == pytest.approx(0.7)
    assert liver.cases == 2  # the fixture gives both folds the same names
    assert (whole.split, whole.grid, whole.labels) == ("test", "working", found[0, 3].labels)


def test_folds_and_seeds_are_told_apart(found: dict[tuple[int, int], Evaluation]) -> None:
    rows = spreads(found)
    liver = rows["liver"]["dice"]
    assert liver is not None
    assert liver.mean == pytest.approx(0.7)
    assert liver.folds == pytest.approx(0.3 / 2**0.5)  # means of folds: 0.55 and 0.85
    assert liver.seeds == pytest.approx(0.1 / 2**0.5)  # means of seeds: 0.65 and 0.75
    assert rows["mean"] == {"dice": liver}
    assert rows["spleen"]["dice"] is None


def test_one_fold_or_seed_has_no_spread() -> None:
    alone = spread({(0, 0): 0.5, (0, 1): None})
    assert alone is not None
    assert (alone.mean, alone.folds, alone.seeds) == (0.5, None, None)
    assert spread({(0, 0): None}) is None
