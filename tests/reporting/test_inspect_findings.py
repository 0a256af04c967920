from dataclasses import replace
from typing import Any

import pytest

from mim3d.reporting.inspect_findings import MOST, RULES, Finding, Subject


def found(subject: Subject) -> list[Finding]:
    return [one for rule in RULES for one in rule(subject) if one.score >= 1]


def with_statistics(subject: Subject, **changed: float) -> Subject:
    return replace(subject, case=replace(subject.case, statistics={**subject.case.statistics, **changed}))


def with_measures(subject: Subject, **changed: Any) -> Subject:
    assert subject.measures is not None
    return replace(subject, measures=replace(subject.measures, **changed))


def with_liver(subject: Subject, outside: float) -> Subject:
    assert subject.measures is not None
    liver = replace(subject.measures.structures["organs"]["liver"], outside=outside)
    return with_measures(subject, structures={"organs": {"liver": liver}})


def test_an_ordinary_case_is_not_suspect(subject: Subject) -> None:
    assert found(subject) == []
    assert found(replace(subject, measures=None)) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"body_share": 0.01}, "only 1.00% of the scan is above -500 HU, 3% are expected"),
        (
            {"body_share": 0.99, "mean": 576.0},
            "99% of the scan is above -500 HU, so it has hardly any air; the",
        ),
        ({"p005": -50.0, "p995": 50.0}, "99 % of the body lies within 100 HU (-50 to 50), 200 are expected"),
    ],
)
def test_odd_intensities_of_the_catalog(subject: Subject, changed: dict[str, float], words: str) -> None:
    (finding,) = found(with_statistics(subject, **changed))
    assert finding.kind == "intensities"
    assert finding.words.startswith(words)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shape": (12, 100, 100)}, "36 mm along x, 40 to 2200 are expected: is the spacing right?"),
        ({"shape": (100, 100, 1000)}, "3000 mm along z, 40 to 2200 are expected: is the spacing right?"),
        ({"source_spacing": (0.08, 0.4, 0.4)}, "voxels of 0.08 x 0.4 x 0.4 mm, sides of 0.1 to 15 mm are ex"),
        (
            {"source_spacing": (0.5, 0.5, 6.5)},
            "voxels of 0.5 x 0.5 x 6.5 mm, 13 times as long as wide; 12 ar",
        ),
        ({"shape": (100, 100, 20), "source_spacing": (2.0, 2.0, 12.0)}, "only 5 slices across z, 10 are"),
    ],
)
def test_odd_sizes(subject: Subject, changed: dict[str, Any], words: str) -> None:
    (finding,) = found(replace(subject, case=replace(subject.case, **changed)))
    assert finding.kind == "size"
    assert finding.words.startswith(words)


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        (
            {"darkest": 15.0},
            "intensities",
            "the darkest hundredth of the voxels reaches 15 HU; air should be ne",
        ),
        ({"constant": (0.0, 0.0, 0.4)}, "slices", "40% of the slices across z hold one value only"),
        ({"constant_inside": (0, 1, 0)}, "slices", "slices of one value lie between others across y"),
        ({"structures": {"organs": {}}}, "labels", "the label map organs is empty"),
    ],
)
def test_odd_voxels(subject: Subject, changed: dict[str, Any], kind: str, words: str) -> None:
    (finding,) = found(with_measures(subject, **changed))
    assert finding.kind == kind
    assert finding.words.startswith(words)


def test_labels_outside_the_body(subject: Subject) -> None:
    (finding,) = found(with_liver(subject, outside=0.4))
    assert finding.words == "liver: 40% of it lies outside the body"
    assert finding.structure == ("organs", "liver")


def test_air_near_0_hints_at_the_intercept(subject: Subject) -> None:
    near, far = (found(with_measures(subject, darkest=hu))[0].words for hu in (20.0, -300.0))
    assert "intercept of -1024 not applied" in near
    assert "intercept" not in far


def test_a_score_grows_with_the_distance_and_is_bounded(subject: Subject) -> None:
    shares = (0.03, 0.01, 1e-5, 0.0)
    scores = [found(with_statistics(subject, body_share=share))[0].score for share in shares]
    assert scores == [1.0, pytest.approx(3.0), MOST, MOST]


def test_hu_are_asked_of_ct_only(subject: Subject) -> None:
    odd = with_statistics(with_measures(subject, darkest=0.0), body_share=0.99, p005=0.0, p995=1.0)
    assert found(odd)
    assert found(replace(odd, case=replace(odd.case, modality="MR"))) == []


def test_of_a_scan_without_a_body_no_label_is_said_to_lie_outside(subject: Subject) -> None:
    empty = with_statistics(with_liver(subject, outside=1.0), body_share=0.0)
    assert [one.kind for one in found(empty)] == ["intensities"]


def test_damage_is_told(subject: Subject) -> None:
    (finding,) = found(replace(subject, measures=None, damage="case a: a chunk of its array 0 is damaged"))
    assert (finding.kind, finding.score) == ("damage", MOST)
    assert finding.words == "cannot be read: case a: a chunk of its array 0 is damaged"


def test_a_map_in_which_nothing_was_annotated_may_be_empty(subject: Subject) -> None:
    empty = with_measures(subject, structures={"organs": {}})
    assert found(empty)
    assert found(replace(empty, case=replace(empty.case, labels={"organs": ()}))) == []
