from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mim3d.metrics.comparison import (
    ALL,
    Compared,
    Difference,
    Side,
    by_unit,
    case_values,
    compare_sides,
    units_of,
)
from mim3d.metrics.evaluation import CaseScore, StructureScore, summarise
from mim3d.metrics.lesions import Lesions
from mim3d.metrics.statistics import holm, sign_flip_p, signed_rank_p

MakeSide = Callable[..., Side]
CASES = [f"case {number}" for number in range(6)]
LIVER = ([0.9, 0.8, 0.7, 0.9, 0.8, 0.7], [0.91, 0.83, 0.72, 0.95, 0.84, 0.76])
SPLEEN = ([0.5, 0.6, None, 0.5, 0.6, None], [0.4, 0.7, None, 0.5, 0.5, None])


@pytest.fixture
def sides(side: MakeSide) -> tuple[Side, Side]:
    """The liver of the second run is better everywhere; four cases have a spleen."""
    first, second = ({"liver": LIVER[n], "spleen": SPLEEN[n]} for n in (0, 1))
    return side("first", first), side("second", second)


def rows(compared: Compared) -> dict[str, Difference]:
    return {row.structure: row for row in compared.rows}


def compared(
    sides: tuple[Side, ...], measure: str = "dice", cases: list[str] = CASES
) -> tuple[Compared, ...]:
    return compare_sides(sides, measure, ("liver", "spleen"), cases, seed=0)


def test_differences_are_taken_case_by_case(sides: tuple[Side, Side]) -> None:
    (found,) = compared(sides)
    assert (found.reference, found.other, found.measure) == ("first", "second", "dice")
    liver, spleen, over_all = (rows(found)[name] for name in ("liver", "spleen", ALL))
    differences = np.subtract(LIVER[1], LIVER[0])
    assert (liver.cases, liver.patients) == (6, 6)
    assert liver.reference == pytest.approx(0.8)
    assert (
        liver.difference == pytest.approx(differences.mean()) == pytest.approx(liver.other - liver.reference)
    )
    assert liver.p_signed_rank == signed_rank_p(differences) == 2 / 64
    assert liver.p_sign_flip == sign_flip_p(differences, 0) == 2 / 64
    assert liver.interval is not None
    assert 0 < liver.interval.low < liver.difference < liver.interval.high
    assert spleen.cases == 4
    assert spleen.difference == pytest.approx(-0.025)
    assert over_all.cases == 6
    assert over_all.reference == pytest.approx(np.mean([0.7, 0.7, 0.7, 0.7, 0.7, 0.7]))


def test_p_values_are_corrected_over_structures_and_others_but_not_over_the_whole(
    sides: tuple[Side, Side], side: MakeSide
) -> None:
    third = side("third", {"liver": LIVER[0], "spleen": SPLEEN[1]})
    found = compared((*sides, third))
    assert [one.other for one in found] == ["second", "third"]
    single = [rows(one)[name] for one in found for name in ("liver", "spleen")]
    assert [row.corrected_signed_rank for row in single] == holm([row.p_signed_rank for row in single])
    assert [row.corrected_sign_flip for row in single] == holm([row.p_sign_flip for row in single])
    whole = [rows(one)[ALL] for one in found]
    assert [row.corrected_sign_flip for row in whole] == holm([row.p_sign_flip for row in whole])
    assert rows(compared(sides)[0])[ALL].corrected_sign_flip == rows(compared(sides)[0])[ALL].p_sign_flip


def test_runs_of_several_seeds_are_averaged_first(sides: tuple[Side, Side], side: MakeSide) -> None:
    apart = {"liver": [], "spleen": []}  # type: dict[str, list[float | None]]
    for liver, spleen in zip(LIVER[1], SPLEEN[1], strict=True):
        apart["liver"] += [liver - 0.05, liver + 0.05]
        apart["spleen"] += [None, None] if spleen is None else [spleen - 0.01, spleen + 0.01]
    (pooled,), (once,) = compared((sides[0], side("second", apart, runs=2))), compared(sides)
    for name in ("liver", "spleen", ALL):
        ours, theirs = rows(pooled)[name], rows(once)[name]
        assert (ours.cases, ours.p_signed_rank) == (theirs.cases, theirs.p_signed_rank)
        assert ours.difference == pytest.approx(theirs.difference)


def test_cases_of_one_patient_are_one_pair(side: MakeSide) -> None:
    patients = ["a", "a", "b", "b", "c", "c"]
    first, second = (side(str(n), {"liver": LIVER[n]}, patients) for n in (0, 1))
    (found,) = compare_sides((first, second), "dice", ("liver",), CASES, seed=0)
    (row,) = found.rows
    assert (row.cases, row.patients) == (6, 3)
    assert row.p_signed_rank == row.p_sign_flip == 0.25
    assert row.difference == pytest.approx(np.mean(np.subtract(LIVER[1], LIVER[0])))


def test_only_the_cases_asked_for_are_compared(sides: tuple[Side, Side]) -> None:
    (found,) = compared(sides, cases=CASES[2:3])
    assert list(rows(found)) == ["liver", ALL]
    assert rows(found)["liver"].cases == 1
    assert rows(found)["liver"].interval is None
    assert rows(found)["liver"].p_sign_flip == 1.0


def test_distances_are_compared_too(sides: tuple[Side, Side]) -> None:
    liver = rows(compared(sides, "hd95_mm")[0])["liver"]
    assert liver.difference == pytest.approx(-10 * np.mean(np.subtract(LIVER[1], LIVER[0])))
    volume = rows(compared(sides, "volume_error_ml")[0])["liver"]
    assert (volume.reference, volume.difference, volume.p_sign_flip) == (1.0, 0.0, 1.0)


def test_invented_structures_make_no_pair_but_false_lesions_count_everywhere(
    sides: tuple[Side, Side],
) -> None:
    invented = StructureScore(
        name="tumour",
        outcome="prediction only",
        dice=0.0,
        hd95_mm=None,
        nsd=None,
        tolerance_mm=2.0,
        truth_ml=0.0,
        predicted_ml=3.0,
        lesions=Lesions(truth=0, found=0, false_positives=2),
    )
    found = replace(invented, outcome="both", dice=0.5, lesions=Lesions(truth=4, found=1, false_positives=0))
    cases = [CaseScore(case=str(n), scores=(row,)) for n, row in enumerate((invented, found))]
    evaluation = summarise(cases, ["tumour"])
    assert case_values(evaluation, "dice", ["tumour"]) == {"tumour": {"1": 0.5}}
    assert case_values(evaluation, "lesions_found", ["tumour"]) == {"tumour": {"1": 0.25}}
    assert case_values(evaluation, "false_lesions", ["tumour"]) == {"tumour": {"0": 2.0, "1": 0.0}}
    assert case_values(sides[0].evaluation, "false_lesions", ["liver"]) == {"liver": {}}


def test_patients_are_known_if_one_side_knows_them(side: MakeSide) -> None:
    unknown, known = side("a", {"liver": [0.5, 0.5]}), side("b", {"liver": [0.5, 0.5]}, ["p", "p"])
    assert units_of([unknown]) == {"case 0": "case 0", "case 1": "case 1"}
    assert units_of([unknown, known]) == units_of([known, unknown]) == {"case 0": "p", "case 1": "p"}


def test_values_are_summed_by_patient() -> None:
    sums, counts = by_unit(np.array([1.0, 2.0, 4.0]), ["b", "a", "b"])
    assert (sums.tolist(), counts.tolist()) == ([2.0, 5.0], [1.0, 2.0])
