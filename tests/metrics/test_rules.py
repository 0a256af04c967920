import pytest

from mim3d.errors import ConfigError
from mim3d.metrics.rules import Rules, read_rules


@pytest.mark.parametrize(
    ("said", "default", "liver"),
    [("3", 3.0, 3.0), (1.5, 1.5, 1.5), ("liver=3, tumour=4", 2.0, 3.0), ("1,liver=0.5", 1.0, 0.5)],
)
def test_tolerances_are_for_all_or_by_name(said: str | float, default: float, liver: float) -> None:
    rules = read_rules(said)
    assert (rules.tolerance_of("spleen"), rules.tolerance_of("liver")) == (default, liver)


def test_lesions_are_named_by_commas() -> None:
    rules = read_rules("2", "tumour, cyst", 50.0)
    assert (rules.lesions, rules.smallest_lesion) == (("tumour", "cyst"), 50.0)
    assert read_rules("2").lesions == ()


@pytest.mark.parametrize("said", ["two", "liver=", "liver", ""])
def test_refuses_what_is_no_tolerance(said: str) -> None:
    with pytest.raises(ConfigError, match=r"tolerance must be mm, for all structures or as name=mm, got '"):
        read_rules(said)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("-1", "tolerance must be 0 mm or more, and finite, got -1.0"),
        ("liver=nan", "tolerance of liver must be 0 mm or more, and finite, got nan"),
        ("inf", "tolerance must be 0 mm or more, and finite, got inf"),
    ],
)
def test_refuses_a_tolerance_that_cannot_be(said: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_rules(said)


def test_refuses_a_lesion_smaller_than_nothing() -> None:
    with pytest.raises(ConfigError, match=r"smallest lesion must be 0 mm\^3 or more, and finite, got -1"):
        Rules(smallest_lesion=-1)


def test_refuses_rules_for_what_is_not_scored() -> None:
    read_rules("liver=3", "tumour").require_known(("liver", "tumour"))
    with pytest.raises(ConfigError, match="tolerance: no structure lever is scored; there are liver, tumour"):
        read_rules("lever=3").require_known(("liver", "tumour"))
    with pytest.raises(ConfigError, match="lesions: no structure cyst is scored; there are liver"):
        read_rules("2", "cyst").require_known(("liver",))
