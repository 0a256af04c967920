import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from mim3d.reporting.inspect_cohort import FAR, beyond, cohort_of, missing, readings, spread, unusual
from mim3d.reporting.inspect_findings import Finding, Subject

VALUES = {"organs": {"liver": 1, "spleen": 2}}
Liver = Callable[..., Subject]


@pytest.fixture
def with_liver(subject: Subject) -> Liver:
    """The ordinary case with another liver."""

    def make(**changed: object) -> Subject:
        assert subject.measures is not None
        liver = replace(subject.measures.structures["organs"]["liver"], **changed)  # type: ignore[arg-type]
        return replace(subject, measures=replace(subject.measures, structures={"organs": {"liver": liver}}))

    return make


def odd(one: Subject, others: list[Subject]) -> list[Finding]:
    cohort = cohort_of([one, *others], VALUES)
    return [finding for finding in unusual(one, cohort) if finding.score >= 1]


def test_median_and_robust_standard_deviation() -> None:
    usual = spread([1.0, 2.0, 3.0, 4.0, 100.0], floor=0.1)
    assert (usual.middle, usual.num_cases) == (3.0, 5)
    assert usual.sigma == pytest.approx(1.4826)
    assert spread([3.0, 3.0, 3.0], floor=0.1).sigma == 0.1


def test_scores_rise_through_1_where_a_distance_counts_as_far() -> None:
    assert beyond(FAR / 2) == 0.5
    assert beyond(FAR) == 1
    assert beyond(FAR * math.e) == pytest.approx(2)


def test_like_cases_are_not_suspect(subject: Subject) -> None:
    assert odd(subject, [subject] * 9) == []


def test_a_mean_far_from_the_others_is_told_with_numbers(subject: Subject) -> None:
    statistics = {**subject.case.statistics, "mean": 620.0}
    shifted = replace(subject, case=replace(subject.case, statistics=statistics))
    (finding,) = odd(shifted, [subject] * 9)
    assert finding.kind == "intensities"
    assert finding.words == (
        "the body's mean is 620 HU, 24 robust standard deviations from the median of 10 cases, 20 HU"
    )


def test_lengths_and_volumes_are_compared_by_ratio(subject: Subject, with_liver: Liver) -> None:
    longer = replace(subject, case=replace(subject.case, shape=(100, 100, 300)))
    (finding,) = odd(longer, [subject] * 9)
    assert "the scan's length along z is 900 mm" in finding.words
    (small,), (large,) = (odd(with_liver(volume=ml), [subject] * 9) for ml in (1500 / 8, 1500 * 8))
    assert small.score == pytest.approx(large.score)
    assert small.words.startswith("liver: the volume is 188 ml")
    assert small.structure == ("organs", "liver")


def test_a_structure_that_the_scan_cuts_may_be_small_but_not_large(
    subject: Subject, with_liver: Liver
) -> None:
    assert odd(with_liver(volume=100.0, cut=True), [subject] * 9) == []
    assert odd(with_liver(volume=20000.0, cut=True), [subject] * 9)


def test_labels_on_other_tissue_are_told(subject: Subject, with_liver: Liver) -> None:
    (finding,) = odd(with_liver(median=-800.0), [subject] * 9)
    assert finding.words.startswith("liver: the median inside is -800 HU")


def test_few_cases_say_nothing_about_what_is_usual(subject: Subject, with_liver: Liver) -> None:
    assert odd(with_liver(median=-800.0), [subject] * 3) == []
    assert odd(with_liver(median=-800.0), [subject] * 4) != []


def test_modalities_are_compared_apart(subject: Subject) -> None:
    mr = replace(subject, case=replace(subject.case, modality="MR", shape=(10, 10, 10)))
    assert odd(mr, [subject] * 9) == []
    assert {reading.kind for reading in readings(mr)} == {"size", "labels"}


def test_a_structure_that_nearly_all_have_is_missed(subject: Subject, with_liver: Liver) -> None:
    assert subject.measures is not None
    structures = subject.measures.structures["organs"]
    both = {"organs": {**structures, "spleen": structures["liver"]}}
    complete = replace(subject, measures=replace(subject.measures, structures=both))
    words = ["spleen is nowhere, though annotated; 9 of 10 cases have it"]
    assert [one.words for one in missing(subject, cohort_of([subject, *[complete] * 9], VALUES))] == words
    assert list(missing(subject, cohort_of([subject] * 5 + [complete] * 5, VALUES))) == []
    partly = replace(subject, case=replace(subject.case, labels={"organs": (1,)}))
    assert list(missing(partly, cohort_of([partly, *[complete] * 9], VALUES))) == []
