"""Label sets: names, values, colours."""

import re

import pytest

from mim3d.data.labels import LabelSet
from mim3d.errors import DataError

ORGANS = LabelSet("organs", {"liver": 5, "spleen": 1}, {"liver": "#aa3322"}, ignore=255)


def test_values_follow_the_names() -> None:
    assert ORGANS.values(["spleen", "liver"]) == (1, 5)


def test_an_unknown_structure_is_said() -> None:
    with pytest.raises(DataError, match="label set organs has no structure heart; it has: liver, spleen"):
        ORGANS.values(["liver", "heart"])


def test_colours_are_given_or_spread() -> None:
    assert ORGANS.colour("liver") == "#aa3322"
    many = LabelSet("many", {str(value): value for value in range(1, 101)})
    colours = [many.colour(str(value)) for value in range(1, 101)]
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert len(set(colours)) > 90


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden"])
def test_a_name_must_be_a_folders(name: str) -> None:
    with pytest.raises(DataError, match=r"as a folder's name, it may hold letters"):
        LabelSet(name, {"liver": 1})


@pytest.mark.parametrize("structures", [{"a": 0}, {"a": 65536}, {"a": 1, "b": 1}, {"a": 7}])
def test_values_must_tell_structures_apart(structures: dict[str, int]) -> None:
    with pytest.raises(
        DataError, match="label set x: each structure needs a value of its own from 1 to 65535"
    ):
        LabelSet("x", structures, ignore=7)


def test_colours_must_be_hexadecimal() -> None:
    with pytest.raises(DataError, match=r"label set organs: colour 'red'; colours are written #rrggbb"):
        LabelSet("organs", {"liver": 1}, {"liver": "red"})
