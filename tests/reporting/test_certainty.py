from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter

import pytest

from mim3d.metrics.comparison import Side
from mim3d.metrics.evaluation import Evaluation, summarise
from mim3d.metrics.lesions import Lesions
from mim3d.reporting.certainty import details_of, intervals_of, statistics_of, volumes_table, worst_cases

MakeSide = Callable[..., Side]
DICE = attrgetter("dice")


@pytest.fixture
def evaluation(side: MakeSide) -> Evaluation:
    dices = {"liver": [0.9, 0.5, 0.7, 0.8], "spleen": [0.2, 0.9, None, None]}
    return side("run", dices).evaluation


def test_each_mean_has_an_interval_by_patient(side: MakeSide, evaluation: Evaluation) -> None:
    found = intervals_of(evaluation, DICE)
    assert found["liver"].low < 0.725 < found["liver"].high
    assert found["spleen"].low < 0.55 < found["spleen"].high
    assert found == intervals_of(evaluation, DICE)
    assert intervals_of(evaluation, attrgetter("hd95_mm"))["liver"].low < 2.75
    one_patient = side("run", {"liver": [0.9, 0.5]}, ["p", "p"]).evaluation
    assert intervals_of(one_patient, DICE) == {}


def test_the_worst_cases_come_first(evaluation: Evaluation) -> None:
    table = worst_cases(evaluation)
    assert table is not None
    assert [row[0] for row in table.rows] == ["case 0", "case 1", "case 2", "case 3"]
    assert table.rows[0] == ("case 0", "0.550", "spleen", "0.200", "8.0", "-", "-")
    assert table.notes == ()


def test_a_few_of_many_cases_are_listed_with_their_seed(side: MakeSide) -> None:
    many = side("run", {"liver": [number / 20 for number in range(12)]}).evaluation
    seeded = replace(many, cases=tuple(replace(case, seed=4) for case in many.cases))
    table = worst_cases(seeded)
    assert table is not None
    assert len(table.rows) == 10
    assert table.rows[0][0] == "case 0 (seed 4)"
    assert table.notes == ("2 better ones are left out.",)
    assert worst_cases(side("run", {"liver": [0.5]}).evaluation) is None


def test_volumes_and_lesions_are_told(evaluation: Evaluation) -> None:
    table = volumes_table(evaluation)
    headings = ("structure", "volume off by ml", "95 % interval", "invented ml")
    assert (table.title, table.headings) == ("Volumes", headings)
    assert table.rows[0] == ("liver", "-1.0", "-1.0 to -1.0", "-")
    counted = [
        replace(
            case,
            scores=tuple(
                replace(row, lesions=Lesions(truth=2, found=1, false_positives=1))
                if row.name == "liver"
                else row
                for row in case.scores
            ),
        )
        for case in evaluation.cases
    ]
    table = volumes_table(summarise(counted, ["liver", "spleen"]))
    assert table.rows[0][4:] == ("4 of 8", "1.00")
    assert table.rows[1][4:] == ("-", "-")
    assert len(list(details_of(evaluation))) == 2


def test_runs_are_compared_case_by_case(side: MakeSide) -> None:
    worse, better = (side("run", {"liver": [0.5 + add, 0.6 + add]}).evaluation for add in (0, 0.1))
    found = statistics_of({"mae": worse, "mim": better})
    assert found is not None
    assert found.tables[0].title == "Dice: mim less mae, 2 cases (more is better)"
    assert found.tables[0].rows[0][3] == "+0.100"
    assert statistics_of({"mae": worse}) is None


def test_what_was_not_scored_alike_is_left_out_or_told(side: MakeSide, evaluation: Evaluation) -> None:
    less = replace(evaluation, cases=evaluation.cases[:3])
    found = statistics_of({"a": evaluation, "b": less})
    assert found is not None
    assert found.notes[0].startswith("left out: scored on different cases (a: 4 cases, b: 3 cases")
    other = replace(evaluation, grid="own")
    found = statistics_of({"a": evaluation, "b": other})
    assert found is not None
    assert (found.tables, found.notes[0].split(":")[0]) == ((), "No paired comparison")
