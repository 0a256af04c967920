"""Folds, few-shot subsets and the sealed test split: exact, disjoint, nested, by patient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mim3d.data.arrangement import Member, arrange, arrangements, folds_of
from mim3d.data.recipe import Splits, load_recipe
from mim3d.errors import ConfigError


def members(count: int, scans: int = 1) -> list[Member]:
    return [Member(case=f"{n}-{scan}", patient=f"p{n}") for n in range(count) for scan in range(scans)]


def cases(splits: Splits, everyone: list[Member], name: str, split: str | None) -> set[str]:
    dealt = arrange(splits, everyone, name)
    return {one.case for one in everyone if dealt[one.patient] == split}


BTCV = load_recipe("btcv").splits
BTCV_SCANS = [
    Member(case=f"{n:04}", patient=f"{n:04}") for n in (*range(1, 11), *range(21, 41))
]  # the scans that Synapse numbers so


def test_the_draw_of_btcv_is_what_it_was() -> None:
    """A change of the draw would make every result incomparable with those before."""
    assert BTCV is not None
    assert cases(BTCV, BTCV_SCANS, "fold-0", "test") == {f"{n:04}" for n in range(35, 41)}
    assert sorted(cases(BTCV, BTCV_SCANS, "fold-0", "val")) == ["0004", "0006", "0008", "0010", "0022"]
    assert sorted(cases(BTCV, BTCV_SCANS, "few-3", "train")) == ["0002", "0023", "0033"]


def test_every_scan_is_validated_on_once() -> None:
    assert BTCV is not None
    folds = [cases(BTCV, BTCV_SCANS, f"fold-{n}", "val") for n in range(5)]
    assert sorted(map(len, folds)) == [4, 5, 5, 5, 5]
    assert sorted(case for fold in folds for case in fold) == [one.case for one in BTCV_SCANS[:24]]


def test_folds_are_those_that_are_validated_on_in_turn() -> None:
    assert BTCV is not None
    folds = folds_of(BTCV, BTCV_SCANS)
    assert set(folds) == {one.patient for one in BTCV_SCANS[:24]}
    for number in range(5):
        held = {patient for patient, fold in folds.items() if fold == number}
        assert held == cases(BTCV, BTCV_SCANS, f"fold-{number}", "val")
    assert folds_of(Splits(seed=0, test=2), members(5)) == {}


@pytest.mark.parametrize("name", ["btcv", "msd09-spleen", "mm-whs", "amos22"])
def test_few_shot_subsets_are_nested_and_leave_the_rest_without_labels(name: str) -> None:
    recipe = load_recipe(name)
    splits = recipe.splits
    assert splits is not None
    everyone = BTCV_SCANS if name == "btcv" else members(recipe.layouts[0].parts[0].scans or 0)
    few = [cases(splits, everyone, f"few-{count}", "train") for count in splits.few_shot]
    for count, smaller, larger in zip(
        splits.few_shot, few, [*few[1:], cases(splits, everyone, "fold-0", "train")], strict=True
    ):
        assert smaller < larger
        if not count.endswith("%"):
            assert len(smaller) == int(count)
    rest = cases(splits, everyone, f"few-{splits.few_shot[0]}", None)
    assert rest == cases(splits, everyone, "fold-0", "train") - few[0]
    for split in ("val", "test"):
        assert cases(splits, everyone, arrangements(splits)[-1], split) == cases(
            splits, everyone, "fold-0", split
        )


def test_a_share_is_of_those_to_train_on() -> None:
    splits = load_recipe("amos22").splits
    assert splits is not None
    everyone = [*members(200), *(Member(case=f"va{n}", patient=f"va{n}", stated="test") for n in range(100))]
    assert len(cases(splits, everyone, "fold-0", "train")) == 160
    assert len(cases(splits, everyone, "few-25%", "train")) == 40
    assert len(cases(splits, everyone, "few-50%", "train")) == 80
    assert cases(splits, everyone, "few-50%", "test") == {f"va{n}" for n in range(100)}


@given(count=st.integers(8, 30), scans=st.integers(1, 3), seed=st.integers(0, 99), data=st.data())
def test_patients_stay_together_in_any_order(count: int, scans: int, seed: int, data: st.DataObject) -> None:
    splits = Splits(seed=seed, folds=5, test=3, few_shot=("1", "50%"))
    everyone = members(count, scans)
    name = data.draw(st.sampled_from(arrangements(splits)))
    dealt = arrange(splits, everyone, name)
    assert arrange(splits, data.draw(st.permutations(everyone)), name) == dealt
    assert dealt.keys() == {one.patient for one in everyone}
    assert len(cases(splits, everyone, name, "test")) == 3 * scans


def test_another_seed_is_another_draw() -> None:
    drawn = {
        frozenset(cases(Splits(seed=n, folds=5, test=5), members(40), "fold-0", "test")) for n in range(5)
    }
    assert len(drawn) == 5


def test_as_the_data_set_states_it() -> None:
    everyone = [
        Member(case="a", patient="a", stated="train"),
        Member(case="b", patient="b", stated="val"),
        Member(case="c", patient="c", stated="test"),
        Member(case="d", patient="d"),
    ]
    splits = Splits(seed=1)
    assert arrangements(splits) == ("stated",)
    assert arrange(splits, everyone) == {"a": "train", "b": "val", "c": "test", "d": "train"}


@pytest.mark.parametrize(
    ("count", "name", "message"),
    [
        (30, "fold-5", "arrangement 'fold-5': no such one; there are fold-0, fold-1, .* few-2$"),
        (
            6,
            "fold-0",
            "4 patients are left beside the test split, 5 folds need at least 5; get the whole data",
        ),
        (
            8,
            "few-9",
            "few-9 needs 9 labelled patients to train on, 4 are there; get the whole data set, or take",
        ),
    ],
)
def test_what_cannot_be_arranged(count: int, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arrange(Splits(seed=0, folds=5, test=2, few_shot=("9", "2")), members(count), name)
