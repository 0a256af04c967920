from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import rankdata

from mim3d.metrics.class_comparison import Judged, compare_classifiers, corrected, weighted_auroc
from mim3d.metrics.classification import auroc, evaluate_classes
from mim3d.metrics.statistics import holm, sign_flip_p

Floats = NDArray[np.float64]


def judged(truth: list[int], classes: int = 2, unit: list[int] | None = None) -> Judged:
    table = np.eye(classes, dtype=bool)[truth]
    return Judged(truth=table, unit=np.array(unit or range(len(truth))), multi_label=False)


def guesses(cases: Judged, skill: float, seed: int) -> Floats:
    noise = np.random.default_rng(seed).normal(size=cases.truth.shape)
    odds = np.exp(skill * cases.truth + noise)
    found: Floats = odds / odds.sum(axis=1, keepdims=True)
    return found


@settings(max_examples=50)
@given(data=st.data(), size=st.integers(2, 8))
def test_a_sample_counts_cases_as_often_as_it_takes_them(data: st.DataObject, size: int) -> None:
    scores = np.array(data.draw(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=size, max_size=size)))
    positive = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    found = weighted_auroc(scores, positive)(weights[None].astype(float))[0]
    expected = auroc(np.repeat(scores, weights), np.repeat(positive, weights))
    assert np.isnan(found) if expected is None else found == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 3])
def test_measures_are_those_of_an_evaluation(classes: int) -> None:
    cases = judged([0, 1, 2 % classes] * 6, classes)
    ours, theirs = guesses(cases, 0.5, 0), guesses(cases, 1.5, 1)
    rows = {row.measure: row for row in compare_classifiers(cases, [ours], [theirs], seed=0)}
    names = [str(k) for k in range(classes)]
    scored = [evaluate_classes(one, cases.truth, names, ["x"] * 18) for one in (ours, theirs)]
    for name, row in rows.items():
        first, second = (getattr(one, name) for one in scored)
        assert row.reference == pytest.approx(first)
        assert row.other == pytest.approx(second)
        assert row.difference == pytest.approx(second - first)
        assert row.interval is not None
        assert row.interval.low <= row.difference <= row.interval.high


def test_several_labels_are_measured_as_in_an_evaluation() -> None:
    """The third class is that of all cases, the fourth of none."""
    random = np.random.default_rng(3)
    truth = random.random((20, 4)) < np.array([0.4, 0.4, 1.0, 0.0])
    cases = Judged(truth=truth, unit=np.arange(20), multi_label=True)
    ours, theirs = random.random((2, 20, 4))
    rows = {row.measure: row for row in compare_classifiers(cases, [ours], [theirs], seed=0)}
    scored = evaluate_classes(theirs, truth, list("abcd"), ["x"] * 20, multi_label=True)
    for name, row in rows.items():
        assert row.other == pytest.approx(getattr(scored, name)), name


def test_classifiers_of_several_seeds_are_averaged() -> None:
    cases = judged([0, 1] * 8)
    one, two, three = (guesses(cases, 1.0, seed) for seed in range(3))
    (joined,) = [row for row in compare_classifiers(cases, [one], [two, three], 0) if row.measure == "auroc"]
    alone = [compare_classifiers(cases, [one], [other], 0)[0].other for other in (two, three)]
    assert joined.other == pytest.approx(np.mean(alone))


def test_the_p_of_accuracy_is_that_of_flips_and_patients_are_one() -> None:
    cases = judged([0, 1, 0, 1], unit=[0, 0, 1, 1])
    right, wrong = cases.truth.astype(float), (~cases.truth).astype(float)
    rows = {row.measure: row for row in compare_classifiers(cases, [wrong], [right], seed=0)}
    assert (rows["accuracy"].cases, rows["accuracy"].patients) == (4, 2)
    assert rows["accuracy"].p_swap == sign_flip_p(np.array([2.0, 2.0]), 0) == 0.5
    assert rows["auroc"].p_swap == 0.5
    assert rows["balanced_accuracy"].p_swap is None


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("classes", [[0, 1, 0, 1, 1, 0], [0, 1, 2, 2, 1, 2]])
def test_small_p_values_of_auroc_are_those_of_all_swaps(seeds: int, classes: list[int]) -> None:
    cases = judged(classes, max(classes) + 1)
    ours, theirs = [guesses(cases, 0.2, seed) for seed in range(4, 4 + seeds)], [guesses(cases, 2.0, 9)]

    def area(ranks: Floats) -> float:
        return float(np.mean([auroc(ranks[:, k], cases.truth[:, k]) for k in set(classes)]))

    def apart(swaps: tuple[bool, ...]) -> float:
        rows, total = np.array(swaps)[:, None], 0.0
        for one in ours:
            first, second = (rankdata(scores, axis=0) for scores in (one, theirs[0]))
            total += area(np.where(rows, first, second)) - area(np.where(rows, second, first))
        return abs(total / seeds)

    everything = [apart(swaps) for swaps in product((False, True), repeat=6)]
    expected = np.mean([one >= everything[0] - 1e-12 for one in everything])
    row = compare_classifiers(cases, ours, theirs, 0)[0]
    assert everything[0] == pytest.approx(abs(row.difference))
    assert row.p_swap == pytest.approx(expected)


def test_p_values_of_several_others_are_corrected() -> None:
    cases = judged([0, 1] * 10)
    sides = {f"skill {skill}": [guesses(cases, skill, seed=1)] for skill in (0.0, 0.5, 0.8)}
    found = {
        name: compare_classifiers(cases, sides["skill 0.0"], side, seed=0)
        for name, side in list(sides.items())[1:]
    }
    done = corrected(found)
    for number, measure in enumerate(("auroc", "accuracy")):
        ps = [rows[number].p_swap for rows in found.values()]
        assert None not in ps
        assert [rows[number].measure for rows in done.values()] == [measure, measure]
        assert [rows[number].corrected_swap for rows in done.values()] == holm(
            [p for p in ps if p is not None]
        )
    assert [rows[2].corrected_swap for rows in done.values()] == [None, None]
    assert done["skill 0.8"][0].corrected_swap != found["skill 0.8"][0].p_swap


def test_the_same_classifier_is_no_better_and_one_class_has_no_auroc() -> None:
    cases = judged([0, 1] * 8)
    same = guesses(cases, 1.0, 0)
    for row in compare_classifiers(cases, [same], [same], seed=0):
        assert row.difference == 0
        assert row.p_swap in (1.0, None)
    alone = judged([0, 0, 0])
    rows = compare_classifiers(alone, [guesses(alone, 1.0, 0)], [guesses(alone, 1.0, 1)], seed=0)
    assert [row.measure for row in rows] == ["accuracy", "balanced_accuracy"]
