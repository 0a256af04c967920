"""Measures of a classifier against their plain definitions, case by case and pair by pair."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mim3d.metrics.classification import (
    BINS,
    ClassEvaluation,
    auroc,
    calibration_error,
    decide,
    evaluate_classes,
    of_patients,
)

GRID = st.integers(0, 8)
"""Coarse scores, so that ties are common."""


def by_pairs(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """AUROC as the share of pairs in the right order, ties counting half."""
    pairs = [
        (high, low)
        for high, is_high in zip(scores, positive, strict=True)
        for low, is_low in zip(scores, positive, strict=True)
        if is_high and not is_low
    ]
    won = sum(1.0 if high > low else 0.5 if high == low else 0.0 for high, low in pairs)
    return won / len(pairs) if pairs else None


@given(st.lists(st.tuples(GRID, st.booleans()), min_size=1, max_size=30))
def test_auroc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores, positive = zip(*rows, strict=True)
    found = auroc(np.array(scores, float) / 8, np.array(positive))
    expected = by_pairs(scores, positive)
    assert found == (expected if expected is None else pytest.approx(expected, abs=1e-12))


def test_auroc_needs_both() -> None:
    assert auroc(np.array([0.2, 0.9]), np.array([True, True])) is None
    assert auroc(np.array([0.2, 0.9]), np.array([False, False])) is None
    assert auroc(np.array([0.5, 0.5, 0.5]), np.array([True, False, False])) == 0.5


@st.composite
def single(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities (N, K) and classes (N,)."""
    count, classes = draw(st.integers(1, 12)), draw(st.integers(2, 4))
    rows = st.lists(st.integers(1, 6), min_size=classes, max_size=classes)
    weights = np.array(draw(st.lists(rows, min_size=count, max_size=count)), float)
    truth = draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    return weights / weights.sum(axis=1, keepdims=True), np.array(truth)


def evaluated(
    probabilities: NDArray[np.float64], truth: NDArray[np.bool_], *, multi_label: bool
) -> ClassEvaluation:
    count, classes = probabilities.shape
    return evaluate_classes(
        probabilities,
        truth,
        [f"class {k}" for k in range(classes)],
        [f"case {n}" for n in range(count)],
        multi_label=multi_label,
        target="disease",
        split="val",
    )


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def close(found: float | None, expected: float | None) -> bool:
    return found is expected is None or found == pytest.approx(expected, abs=1e-9)


@given(single())
def test_one_class_a_case(drawn: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    probabilities, truth = drawn
    count, classes = probabilities.shape
    predicted = [max(range(classes), key=lambda k: (row[k], -k)) for row in probabilities]
    found = evaluated(probabilities, np.eye(classes, dtype=bool)[truth], multi_label=False)
    assert close(found.accuracy, sum(p == t for p, t in zip(predicted, truth, strict=True)) / count)
    sensitivities, scores, areas = [], [], []
    for k in range(classes):
        having = [p == k for p, t in zip(predicted, truth, strict=True) if t == k]
        sensitivities.append(sum(having) / len(having) if having else None)
        hits = sum(having)
        named = (predicted.count(k) - hits) + (len(having) - hits) + 2 * hits
        scores.append(2 * hits / named if named else None)
        areas.append(by_pairs(list(probabilities[:, k]), [t == k for t in truth]))
    assert close(found.balanced_accuracy, mean(sensitivities))
    assert close(found.f1, mean(scores))
    assert close(found.auroc, mean(areas))
    assert [row.sensitivity for row in found.classes] == pytest.approx(sensitivities)
    errors = [
        sum((row[k] - (k == t)) ** 2 for k in range(classes))
        for row, t in zip(probabilities, truth, strict=True)
    ]
    assert close(found.brier, sum(errors) / count)
    assert [case.brier for case in found.cases] == pytest.approx(errors)
    assert [case.right for case in found.cases] == [p == t for p, t in zip(predicted, truth, strict=True)]


@given(st.data())
def test_any_number_of_classes_a_case(data: st.DataObject) -> None:
    count, classes = data.draw(st.integers(1, 10)), data.draw(st.integers(1, 3))
    rows = st.lists(GRID, min_size=classes, max_size=classes)
    has = st.lists(st.booleans(), min_size=classes, max_size=classes)
    probabilities = np.array(data.draw(st.lists(rows, min_size=count, max_size=count)), float) / 8
    truth = np.array(data.draw(st.lists(has, min_size=count, max_size=count)))
    found = evaluated(probabilities, truth, multi_label=True)
    told = probabilities >= 0.5
    assert close(found.accuracy, float((told == truth).mean()))
    assert close(found.brier, float(((probabilities - truth) ** 2).mean()))
    areas, balanced = [], []
    for k in range(classes):
        areas.append(by_pairs(list(probabilities[:, k]), list(truth[:, k])))
        if 0 < truth[:, k].sum() < count:
            rates = told[truth[:, k], k].mean(), 1 - told[~truth[:, k], k].mean()
            balanced.append(sum(rates) / 2)
    assert close(found.auroc, mean(areas))
    assert close(found.balanced_accuracy, mean(balanced))


@given(single())
def test_calibration_is_judged_bin_by_bin(drawn: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    probabilities, truth = drawn
    expected = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS + (number == BINS - 1)
        inside = [n for n, row in enumerate(probabilities) if low <= row.max() < high]
        if inside:
            right = np.mean([probabilities[n].argmax() == truth[n] for n in inside])
            sure = np.mean([probabilities[n].max() for n in inside])
            expected += len(inside) / len(truth) * abs(right - sure)
    one_hot = np.eye(probabilities.shape[1], dtype=bool)[truth]
    assert close(calibration_error(probabilities, one_hot, multi_label=False), expected)


def test_calibration_of_several_labels_is_of_every_decision() -> None:
    probabilities, truth = np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([[True, False], [False, False]])
    expected = (abs(1 - 1.8) + abs(0 - 0.2)) / 4
    assert close(calibration_error(probabilities, truth, multi_label=True), expected)


def test_what_is_not_defined_is_none() -> None:
    found = evaluated(np.array([[0.7, 0.3], [0.6, 0.4]]), np.array([[True, False]] * 2), multi_label=False)
    assert (found.auroc, found.accuracy, found.balanced_accuracy) == (None, 1.0, 1.0)
    first, second = found.classes
    assert (first.auroc, first.sensitivity, first.specificity, first.f1) == (None, 1.0, None, 1.0)
    assert (second.cases, second.sensitivity, second.specificity, second.f1) == (0, None, 1.0, None)
    none = evaluated(np.empty((0, 2)), np.empty((0, 2), bool), multi_label=False)
    assert {none.auroc, none.accuracy, none.f1, none.brier, none.calibration_error} == {None}


def test_of_equals_the_first_is_decided() -> None:
    assert decide(np.array([[0.5, 0.5]]), multi_label=False).tolist() == [[True, False]]
    assert decide(np.array([[0.5, 0.4]]), multi_label=True).tolist() == [[True, False]]


def test_what_is_written() -> None:
    found = evaluated(np.array([[0.75, 0.25], [0.5, 0.5]]), np.eye(2, dtype=bool), multi_label=False)
    plain = found.to_json()
    assert (plain["task"], plain["split"], plain["target"]) == ("classification", "val", "disease")
    assert plain["cases"][1] == {
        "case": "case 1",
        "truth": ("class 1",),
        "probabilities": {"class 0": 0.5, "class 1": 0.5},
        "right": False,
        "brier": 0.5,
        "patient": "",
    }
    named = of_patients(found, ["p", "q"])
    assert [row.patient for row in named.cases] == ["p", "q"]
