from collections.abc import Callable
from typing import Any

import pytest

from mim3d.errors import ConfigError
from mim3d.metrics.comparison import Side
from mim3d.metrics.subgroups import COLUMNS, group_of, subgroups

MakeSide = Callable[..., Side]


def facts(count: int, **columns: list[Any]) -> dict[str, dict[str, Any]]:
    empty = dict.fromkeys(COLUMNS, "")
    return {f"case {n}": {**empty, **{name: col[n] for name, col in columns.items()}} for n in range(count)}


def test_cases_are_grouped_by_columns(side: MakeSide) -> None:
    first = side("first", {"liver": [0.9, 0.7, 0.5], "spleen": [0.7, None, 0.3]})
    second = side("second", {"liver": [0.9, 0.8, 0.9], "spleen": [0.7, None, 0.5]})
    known = facts(3, scanner=["A", "B", "A"], phase=["portal", "portal", ""])
    found = subgroups([first, second], "dice", ("liver", "spleen"), known, ("scanner", "phase"), seed=0)
    assert [(one.column, one.value, one.cases, one.patients) for one in found] == [
        ("scanner", "A", 2, 2),
        ("scanner", "B", 1, 1),
        ("phase", "portal", 2, 2),
        ("phase", "not known", 1, 1),
    ]
    assert found[0].means == pytest.approx((0.6, 0.75))
    assert found[0].differences == pytest.approx((0.15,))
    assert found[0].intervals[0] is not None
    assert found[0].few
    assert found[1].intervals == (None,)


def test_a_single_side_has_intervals_of_its_means(side: MakeSide) -> None:
    dices = [0.5 + n / 100 for n in range(10)]
    known = facts(10, scanner=["A"] * 10)
    (found,) = subgroups([side("one", {"liver": dices})], "dice", ("liver",), known, ("scanner",), seed=0)
    assert (found.differences, found.few) == ((), False)
    (interval,) = found.intervals
    assert interval is not None
    assert interval.low < found.means[0] < interval.high


def test_cases_that_nothing_is_known_of_are_in_no_group(side: MakeSide) -> None:
    known = facts(1, scanner=["A"])
    one = side("one", {"liver": [0.5, 0.9], "spleen": [None, None]})
    (found,) = subgroups([one], "dice", ("liver", "spleen"), known, ("scanner",), seed=0)
    assert (found.cases, found.means) == (1, (0.5,))


@pytest.mark.parametrize(
    ("column", "value", "group"),
    [
        ("thickness", 1.0, "up to 1 mm"),
        ("thickness", 1.25, "above 1 to 2 mm"),
        ("thickness", 5.0, "above 3 to 5 mm"),
        ("thickness", 7.5, "above 5 mm"),
        ("thickness", None, "not known"),
        ("source_spacing", (0.7, 0.7, 2.5), "above 2 to 3 mm"),
        ("age", 60, "60 to 69"),
        ("age", 90, "90 and above"),
        ("scanner", "", "not known"),
        ("sex", "F", "F"),
    ],
)
def test_groups_of_a_column(column: str, value: Any, group: str) -> None:
    assert group_of(column, value) == group


def test_cases_are_grouped_by_targets(side: MakeSide) -> None:
    known = facts(2) | {"case 1": {"disease": "yes"}}
    found = subgroups([side("one", {"liver": [0.5, 0.9]})], "dice", ("liver",), known, ("disease",), seed=0)
    assert [(one.value, one.means) for one in found] == [("not known", (0.5,)), ("yes", (0.9,))]


@pytest.mark.parametrize("name", ["age", "thickness", "source_spacing"])
def test_a_target_of_the_name_of_a_column_is_no_number(name: str) -> None:
    assert group_of(name, "10") == "10"


def test_refuses_a_column_that_tells_who_it_is(side: MakeSide) -> None:
    one = side("one", {"liver": [0.5]})
    with pytest.raises(ConfigError, match="cases cannot be grouped by patient; there are manufacturer, "):
        subgroups([one], "dice", ("liver",), facts(1), ("patient",), seed=0)
