import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from mim3d.errors import DataError
from mim3d.metrics.comparable import shared_by
from mim3d.metrics.comparison import Side
from mim3d.metrics.evaluation import CaseScore
from mim3d.metrics.lesions import Lesions

MakeSide = Callable[..., Side]


@pytest.fixture
def first(side: MakeSide) -> Side:
    return side("first", {"liver": [0.9, 0.8, 0.7], "spleen": [0.5, 0.5, None]})


def changed(side: Side, **fields: object) -> Side:
    return replace(side, name="second", evaluation=replace(side.evaluation, **fields))  # type: ignore[arg-type]


def test_what_was_scored_alike_is_shared(first: Side) -> None:
    found = shared_by([first, changed(first)], shared=False)
    assert (found.cases, found.structures) == (("case 0", "case 1", "case 2"), ("liver", "spleen"))
    assert (found.tolerances_differ, found.notes) == ((), ())


def test_other_cases_are_refused_or_left_out(first: Side) -> None:
    second = changed(first, cases=first.evaluation.cases[1:])
    message = (
        "scored on different cases (first: 3 cases, second: 2 cases; shared: 2); add --shared to compare"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        shared_by([first, second], shared=False)
    found = shared_by([first, second], shared=True)
    assert found.cases == ("case 1", "case 2")
    assert found.notes == (
        "left out: scored on different cases (first: 3 cases, second: 2 cases; shared: 2)",
    )
    alone = changed(first, cases=(CaseScore(case="x", scores=()),))
    with pytest.raises(DataError, match="first, second: no case was scored in all of them against the same"):
        shared_by([first, alone], shared=True)


def test_sharing_is_not_advised_where_nothing_is_shared(first: Side) -> None:
    cases = tuple(replace(case, case=f"other {case.case}") for case in first.evaluation.cases)
    with pytest.raises(
        DataError, match=r"shared: 0\); nothing is left that they share: score them on the same"
    ):
        shared_by([first, changed(first, cases=cases)], shared=False)


def test_another_truth_is_refused_or_left_out(first: Side) -> None:
    cases = first.evaluation.cases
    second = changed(first, cases=(cases[0], replace(cases[1], truth="other"), cases[2]))
    with pytest.raises(
        DataError, match=r"1 cases were compared with another truth \(e.g. case 1\), of anoth"
    ):
        shared_by([first, second], shared=False)
    assert shared_by([first, second], shared=True).cases == ("case 0", "case 2")


def test_other_structures_are_refused_or_left_out(first: Side) -> None:
    rows = first.evaluation.structures
    second = changed(first, structures=(replace(rows[0], name="kidney"), rows[1]))
    with pytest.raises(DataError, match="not scored in all of them: kidney, liver; add --shared"):
        shared_by([first, second], shared=False)
    assert shared_by([first, second], shared=True).structures == ("spleen",)


def test_only_the_structures_asked_for_must_be_alike(first: Side) -> None:
    rows = first.evaluation.structures
    second = changed(first, structures=(replace(rows[0], name="kidney"), rows[1]))
    found = shared_by([first, second], shared=False, structures=("spleen",))
    assert (found.structures, found.notes) == (("spleen",), ())
    for asked, message in (
        (("liver",), "structures: liver not scored in all runs; name some of spleen"),
        ((), "structures: none"),
    ):
        with pytest.raises(DataError, match=message):
            shared_by([first, second], shared=True, structures=asked)


def test_a_name_that_means_something_else_is_refused_or_left_out(first: Side) -> None:
    second = changed(first, labels={"liver": "other: liver", "spleen": "labels: spleen"})
    message = r"liver is not the same \(first: labels: liver, second: other: liver\); add --shared"
    with pytest.raises(DataError, match=message):
        shared_by([first, second], shared=False)
    assert shared_by([first, second], shared=True).structures == ("spleen",)


def test_other_tolerances_are_refused_or_cost_the_nsd(first: Side) -> None:
    case = first.evaluation.cases[0]
    wider = replace(case, scores=(replace(case.scores[0], tolerance_mm=3.0), *case.scores[1:]))
    second = changed(first, cases=(wider, *first.evaluation.cases[1:]))
    with pytest.raises(DataError, match="NSD of liver was taken at different tolerances; add --shared"):
        shared_by([first, second], shared=False)
    assert shared_by([first, second], shared=True).tolerances_differ == ("liver",)


def test_lesions_counted_from_other_sizes_on_are_refused_or_left_out(first: Side) -> None:
    def counted(side: Side, smallest: float) -> Side:
        case, *others = side.evaluation.cases
        lesions = Lesions(truth=2, found=1, false_positives=0, smallest_mm3=smallest)
        scores = (replace(case.scores[0], lesions=lesions), *case.scores[1:])
        return changed(side, cases=(replace(case, scores=scores), *others))

    assert shared_by([counted(first, 5.0), counted(first, 5.0)], shared=False).lesions_differ == ()
    other = [counted(first, 0.0), counted(first, 5.0)]
    with pytest.raises(
        DataError, match="lesions of liver were counted from different sizes on; add --shared"
    ):
        shared_by(other, shared=False)
    assert shared_by(other, shared=True).lesions_differ == ("liver",)


def test_other_grids_are_always_refused(first: Side) -> None:
    second = changed(first, grid="own")
    message = (
        "first: the store's working grid, second: the scans' own grids: scores on different grids cannot be"
    )
    for shared in (False, True):
        with pytest.raises(DataError, match=message):
            shared_by([first, second], shared=shared)


def test_what_cannot_be_checked_is_said(first: Side) -> None:
    cases = tuple(replace(case, truth="") for case in first.evaluation.cases)
    found = shared_by([first, changed(first, cases=cases, labels={})], shared=False)
    assert found.notes == ("second does not say what its cases were compared with: not checked",)
