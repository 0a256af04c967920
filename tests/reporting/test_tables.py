from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mim3d.reporting.run import read_run
from mim3d.reporting.tables import alike, cells_of, flattened, score_table, settings_groups, structure_colours


def test_a_table_of_one_run(finetuned: Callable[..., Path]) -> None:
    run = read_run(finetuned("tuned"))
    table = score_table("Test", {"tuned": run.evaluations[1].evaluation}, structure_colours(run))
    liver, spleen, mean = table.rows
    assert [cell.text for cell in liver.cells] == ["0.800", "4.0", "0.800"]
    assert (liver.colour, liver.tolerance, liver.cases) == ("#aa3322", "3 mm", "2, 1 missed")
    assert [cell.text for cell in spleen.cells] == ["\u2013"] * 3
    assert [cell.text for cell in mean.cells] == ["0.800", "4.0", "0.800"]
    assert not any(cell.best for row in table.rows for cell in row.cells)


def test_the_better_run_is_marked_and_ties_are_not() -> None:
    assert [cell.best for cell in cells_of([0.7, 0.8, None], "dice")] == [False, True, False]
    assert [cell.best for cell in cells_of([7.0, 8.0], "hd95_mm")] == [True, False]
    assert [cell.best for cell in cells_of([0.80001, 0.80002], "dice")] == [False, False]
    assert [cell.best for cell in cells_of([None, 0.8], "nsd")] == [False, False]


def test_a_structure_that_one_run_lacks_stays_in_the_table(finetuned: Callable[..., Path]) -> None:
    run = read_run(finetuned("tuned"))
    validation, test = (one.evaluation for one in run.evaluations)
    table = score_table("", {"a": replace(validation, split="test"), "b": test}, {})
    assert [cell.text for cell in table.rows[1].cells] == ["\u2013"] * 6
    assert [cell.best for cell in table.rows[0].cells[:2]] == [False, True]


def test_nothing_is_the_best_of_different_cases(finetuned: Callable[..., Path]) -> None:
    run = read_run(finetuned("tuned"))
    one = run.evaluations[1].evaluation
    better = replace(one, structures=(replace(one.structures[0], dice=0.9), *one.structures[1:]))
    other = replace(better, cases=better.cases[:1])
    assert alike([one, better])
    assert not alike([one, other])
    for found, marked in ((better, [False, True]), (other, [False, False])):
        table = score_table("", {"a": one, "b": found}, {})
        assert [cell.best for cell in table.rows[0].cells[:2]] == marked


def test_settings_are_flattened() -> None:
    settings = {"seed": 0, "nesting": {"levels": [{"cell": [2, 2, 2]}, {"cell": None}]}, "notes": {}}
    assert settings_groups(settings) == (
        ("", (("seed", "0"),)),
        ("nesting", (("levels[0].cell", "2, 2, 2"), ("levels[1].cell", "\u2013"))),
    )
    assert settings_groups({}) == ()
    assert dict(flattened({"a": {"b": {}}})) == {"a.b": "\u2013"}


def test_of_several_scores_of_a_case_those_that_missed_are_counted(finetuned: Callable[..., Path]) -> None:
    one = read_run(finetuned("tuned")).evaluations[1].evaluation
    assert score_table("", {"a": one}, {}).rows[0].cases == "2, 1 missed"
    seeds = replace(one, cases=tuple(replace(row, seed=seed) for seed in (0, 1) for row in one.cases))
    assert score_table("", {"a": seeds}, {}).rows[0].cases == "2, missed 1 times"
