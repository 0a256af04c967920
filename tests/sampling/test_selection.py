from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mim3d.config import Selection
from mim3d.data.catalog import Case
from mim3d.data.sources import Split
from mim3d.errors import ConfigError, StoreError
from mim3d.sampling.selection import are_stated, deal, selected


def case(name: str, patient: str, split: Split = "train") -> Case:
    return Case(
        case=name,
        patient=patient,
        split=split,
        shape=(40, 50, 60),
        spacing=(1.5, 1.5, 1.5),
        source_spacing=(0.7, 0.7, 2.5),
        hash=name,
        statistics={},
        labels={},
    )


def cohort(patients: int, scans: int = 1) -> list[Case]:
    """Patients with a number of scans each; every fifth patient is of `test`, others of `val` or `train`."""
    splits: list[Split] = ["test", "val", "train", "train", "train"]
    return [
        case(f"{number}-{scan}", f"patient {number}", splits[number % 5])
        for number in range(patients)
        for scan in range(scans)
    ]


def names(cases: Sequence[Case]) -> list[str]:
    return [one.case for one in cases]


def patients(cases: Sequence[Case]) -> set[str]:
    return {one.patient for one in cases}


def test_without_folds_the_splits_of_the_store_are_taken() -> None:
    train, val = selected(cohort(5), Selection())
    assert (names(train), names(val)) == (["2-0", "3-0", "4-0"], ["1-0"])


@settings(max_examples=50)
@given(count=st.integers(10, 40), scans=st.integers(1, 3), folds=st.integers(2, 6), seed=st.integers(0, 100))
def test_each_case_is_in_one_fold_with_its_patient_and_test_in_none(
    count: int, scans: int, folds: int, seed: int
) -> None:
    cases = cohort(count, scans)
    parts = [selected(cases, Selection(folds=folds, fold=fold, seed=seed)) for fold in range(folds)]
    open_cases = [one for one in cases if one.split != "test"]
    counted = Counter(name for _, val in parts for name in names(val))
    assert counted == Counter(names(open_cases))
    for train, val in parts:
        assert sorted(names(train) + names(val)) == sorted(names(open_cases))
        assert not patients(train) & patients(val)
    sizes = [len(patients(val)) for _, val in parts]
    assert max(sizes) - min(sizes) <= 1


def test_folds_that_the_store_states_are_taken() -> None:
    cases = [replace(one, fold=None if one.split == "test" else int(one.case[0]) % 2) for one in cohort(10)]
    assert are_stated(cases, Selection(folds=2))
    for fold in (0, 1):
        train, val = selected(cases, Selection(folds=2, fold=fold, seed=5))
        assert {one.fold for one in val} == {fold}
        assert {one.fold for one in train} == {1 - fold}


@pytest.mark.parametrize("spoilt", ["other number", "one unknown", "patient in two"])
def test_folds_that_cannot_be_taken_are_dealt(spoilt: str) -> None:
    cases = [replace(one, fold=int(one.case[0]) % 2) for one in cohort(10, 2)]
    folds = 3 if spoilt == "other number" else 2
    if spoilt != "other number":
        place = next(n for n, one in enumerate(cases) if one.split == "train")
        cases[place] = replace(
            cases[place], fold=None if spoilt == "one unknown" else 1 - (cases[place].fold or 0)
        )
    assert not are_stated(cases, Selection(folds=folds))
    bare = [replace(one, fold=None) for one in cases]
    for fold in range(folds):
        found, expected = (selected(some, Selection(folds=folds, fold=fold))[1] for some in (cases, bare))
        assert names(found) == names(expected)


def test_folds_hang_on_their_seed_alone() -> None:
    cases = cohort(30)
    first, again = (selected(order, Selection(folds=5, fold=2, seed=7)) for order in (cases, cases[::-1]))
    assert [sorted(names(part)) for part in first] == [sorted(names(part)) for part in again]
    assert sorted(names(selected(cases, Selection(folds=5, fold=2, seed=8))[1])) != sorted(names(first[1]))


def test_who_is_added_moves_few_of_the_others() -> None:
    moved = []
    for trial in range(50):
        known = {f"{trial} {number}": "" for number in range(24)}
        before, after = deal(known, 5, 0), deal({**known, f"{trial} new": ""}, 5, 0)
        moved.append(sum(before[patient] != after[patient] for patient in known))
    assert sum(moved) / len(moved) < 2  # dealt out in turn, it would be 12
    assert max(moved) <= 5


@settings(max_examples=50)
@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    folds=st.integers(2, 6),
    seed=st.integers(0, 9),
)
def test_folds_have_the_same_share_of_each_class(counts: list[int], folds: int, seed: int) -> None:
    kinds = {f"{kind}-{n}": str(kind) for kind, count in enumerate(counts) for n in range(count)}
    if len(kinds) < folds:
        return
    dealt = deal(kinds, folds, seed)
    assert dealt.keys() == kinds.keys()
    for chosen in (list(kinds), *([p for p in kinds if kinds[p] == kind] for kind in set(kinds.values()))):
        sizes = [sum(dealt[patient] == fold for patient in chosen) for fold in range(folds)]
        assert max(sizes) - min(sizes) <= 1


def test_a_patient_of_two_classes_is_dealt_once() -> None:
    cases = [case("a", "p"), case("b", "p"), case("c", "q"), case("d", "r")]
    for fold in (0, 1):
        train, val = selected(cases, Selection(folds=2, fold=fold), ["ill", "well", "well", "ill"])
        assert not patients(train) & patients(val)


@settings(max_examples=50)
@given(few=st.integers(1, 10), more=st.integers(0, 10), fold=st.integers(0, 3), seed=st.integers(0, 100))
def test_few_cases_are_among_more(few: int, more: int, fold: int, seed: int) -> None:
    cases = cohort(40, 2)
    asked = Selection(folds=4, fold=fold, seed=seed)
    (small, val), (large, same) = (
        selected(cases, replace(asked, cases=number)) for number in (few, few + more)
    )
    assert (len(small), len(large)) == (few, few + more)
    assert set(names(small)) <= set(names(large))
    assert names(val) == names(same) == names(selected(cases, asked)[1])
    assert len(patients(small)) == (few + 1) // 2  # whole patients, but for the last one


def test_few_cases_of_the_stores_own_split() -> None:
    train, val = selected(cohort(20), Selection(cases=3))
    assert len(train) == 3
    assert {one.split for one in train} == {"train"}
    assert {one.split for one in val} == {"val"}


def test_blocks_of_one_patient_may_be_parted() -> None:
    blocks = [replace(case(str(number), "one"), block=True) for number in range(4)]
    train, val = selected(blocks, Selection(folds=2))
    assert (len(train), len(val)) == (2, 2)


def test_refuses_what_cannot_be_dealt() -> None:
    with pytest.raises(
        StoreError, match="4 labelled patients beside those of `test` cannot be dealt into 5 folds; take"
    ):
        selected(cohort(5), Selection(folds=5))
    with pytest.raises(StoreError, match=r"no labelled case of the split `val`; prepare more .* into folds"):
        selected([case("a", "b")], Selection())
    with pytest.raises(StoreError, match="no labelled case of the split `train`"):
        selected([case("a", "b", "val")], Selection())
    with pytest.raises(
        ConfigError, match=r"selection.cases is 4, but there are 3 cases to train on; ask for"
    ):
        selected(cohort(5), Selection(cases=4))
