"""Splits: as stated, by patient, by share, and the same however often one asks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mim3d.data.sources import Split
from mim3d.data.splits import Row, Shares, assign_splits
from mim3d.errors import ConfigError, DataError


def row(
    case: str, patient: str, stated: Split | None = None, *, labelled: bool = True, block: bool = False
) -> Row:
    return Row(case=case, patient=patient, stated=stated, labelled=labelled, block=block)


def people(count: int) -> list[Row]:
    return [row(f"case {number}", f"patient {number}") for number in range(count)]


def counts(splits: dict[str, Split]) -> tuple[int, int, int]:
    values = list(splits.values())
    return values.count("train"), values.count("val"), values.count("test")


@pytest.mark.parametrize(
    ("count", "shares", "expected"),
    [
        (10, Shares(), (8, 2, 0)),
        (10, Shares(0.2, 0.3), (5, 2, 3)),
        (3, Shares(), (2, 1, 0)),
        (2, Shares(0.2, 0.2), (1, 1, 0)),
        (1, Shares(), (1, 0, 0)),
        (5, Shares(0.0), (5, 0, 0)),
        (5, Shares(0.95), (1, 4, 0)),
    ],
)
def test_shares_are_of_labelled_patients(count: int, shares: Shares, expected: tuple[int, int, int]) -> None:
    unlabelled = [row(f"u{number}", f"u{number}", labelled=False) for number in range(4)]
    train, val, test = counts(assign_splits([*people(count), *unlabelled], {}, shares))
    assert (train - 4, val, test) == expected


@given(done=st.sets(st.integers(0, 11)), order=st.permutations(range(12)))
def test_an_interrupted_preparation_deals_as_an_uninterrupted_one(done: set[int], order: list[int]) -> None:
    rows, shares = people(12), Shares(0.25, 0.25)
    whole = assign_splits(rows, {}, shares)
    known = {f"patient {number}": whole[f"case {number}"] for number in done}
    assert assign_splits([rows[place] for place in order], known, shares) == whole


def test_what_was_dealt_before_is_kept() -> None:
    known: dict[str, Split] = {"patient 0": "test", "patient 1": "val"}
    splits = assign_splits(people(30), known, Shares())
    assert (splits["case 0"], splits["case 1"]) == ("test", "val")
    assert counts(splits) == (23, 6, 1)


def test_a_patient_goes_where_it_was_stated() -> None:
    rows = [row("a", "p", "test"), row("b", "p"), row("c", "p", labelled=False)]
    assert assign_splits(rows, {}, Shares()) == {"a": "test", "b": "test", "c": "test"}


def test_scans_of_a_patient_stay_together() -> None:
    rows = [row(f"{patient}{number}", f"{patient}") for patient in range(6) for number in range(3)]
    splits = assign_splits(rows, {}, Shares(0.5))
    assert all(len({splits[f"{patient}{number}"] for number in range(3)}) == 1 for patient in range(6))


def test_a_patient_in_two_splits_is_refused() -> None:
    rows = [row("a", "p", "train"), row("b", "p", "test")]
    with pytest.raises(
        DataError, match=r"case b is in split test, but case a of the same patient is in train"
    ):
        assign_splits(rows, {}, Shares())


def test_a_patient_in_another_split_of_the_store_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"case b is in split test, but a case that the store holds .* is in val"
    ):
        assign_splits([row("b", "p", "test")], {"p": "val"}, Shares())


def test_marked_blocks_of_one_patient_may_differ() -> None:
    rows = [row("a", "p", "train", block=True), row("b", "p", "test", block=True)]
    assert assign_splits(rows, {}, Shares()) == {"a": "train", "b": "test"}
    with pytest.raises(DataError, match='write "block of one patient" into their column `note`'):
        assign_splits([*rows, row("c", "p", "val")], {}, Shares())


@pytest.mark.parametrize(
    ("val", "test"), [(-0.1, 0.0), (0.5, 0.5), (1.0, 0.0), (math.nan, 0.0), (0.0, math.nan)]
)
def test_shares_that_cannot_be(val: float, test: float) -> None:
    with pytest.raises(ConfigError, match=f"val_share {val} and test_share {test}: each must be at least 0"):
        Shares(val, test)
