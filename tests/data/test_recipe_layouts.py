"""Every data set as it really comes, in small: paths written by hand from what is known of the archives.

They lie in `miniatures`, a path a line. Made from the recipes' own patterns they would prove nothing.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from mim3d.data.recipe import load_recipe, recipe_names
from mim3d.data.recipe_check import Checked, check

ARCHIVES = sorted(path.stem for path in (Path(__file__).parent / "miniatures").glob("*.txt"))
SCANS = {
    "btcv": 18,
    "msd09-spleen": 21,
    "amos22": 7,
    "flare22": 17,
    "covid-19-20": 49,
    "mm-whs": 10,
    "totalsegmentator": 3,
    "totalsegmentator-v1": 2,
    "luna16": 2,
    "stoic2021": 2,
    "flare23": 2,
    "tcia-covid19": 2,
    "msd03-liver": 3,
}
"""How many of them are scans to prepare; 2 where it is not said."""
NOT_AS_FILES = {"lidc-idri", "hnscc", "cc-ccii"}
"""Folders of DICOM or pictures."""


def scans(checked: Checked) -> int:
    return sum(len(found.scans) for found in checked.laid.parts if found.part.prepared)


def test_every_recipe_has_a_miniature() -> None:
    assert set(ARCHIVES) | NOT_AS_FILES == set(recipe_names())


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_miniature_is_what_its_recipe_expects_but_for_numbers(
    name: str, archive: Callable[[str], Path]
) -> None:
    recipe, raw = load_recipe(name), archive(name)
    checked = check(recipe, raw)
    assert checked.missing == ()
    assert scans(checked) == SCANS.get(name, 2)
    counted = [part for part in checked.laid.layout.parts if part.prepared and part.scans is not None]
    assert len(checked.differing) == len(counted)
    inside = checked.laid.root
    assert scans(check(recipe, inside)) == scans(checked), "RAW may be the folder itself"


@pytest.mark.parametrize("name", ARCHIVES)
def test_no_other_recipe_takes_a_miniature_for_its_own_by_name(
    name: str, archive: Callable[[str], Path]
) -> None:
    raw = archive(name)
    inside = check(load_recipe(name), raw).laid.root
    alike = {"totalsegmentator", "totalsegmentator-v1"}
    for other in set(ARCHIVES) - {name} - alike:
        assert not scans(check(load_recipe(other), raw)), other
        assert not scans(check(load_recipe(other), inside)), other
