from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from mim3d.metrics import statistics as module
from mim3d.metrics.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    least_p,
    mean_of,
    sign_flip_p,
    signed_rank_p,
)

FEW = st.lists(st.sampled_from([-0.3, -0.2, -0.1, 0.0, 0.1, 0.1, 0.2, 0.5]), min_size=1, max_size=9)


def interval(values: NDArray[np.float64], seed: int = 0, resamples: int = 2000) -> Interval:
    found = bootstrap_interval(
        mean_of(values, np.ones(len(values))), len(values), seed=seed, resamples=resamples
    )
    assert found is not None
    return found


def test_intervals_hold_the_mean_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    held = 0
    for trial in range(300):
        found = interval(random.exponential(1.0, 30), seed=trial, resamples=400)
        held += found.low <= 1.0 <= found.high
    assert 0.91 < held / 300 < 0.98


def test_intervals_agree_with_scipy_but_for_their_expansion(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).gamma(2.0, 1.0, 25)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    wide = interval(values, resamples=20_000)
    monkeypatch.setattr(module, "_ends", lambda units, confidence: np.array([-1.96, 1.96]))
    ours = interval(values, resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert 1.05 < (wide.high - wide.low) / (ours.high - ours.low) < 1.12  # t of 24 degrees: 1.075


def test_cases_of_one_patient_are_taken_together() -> None:
    """Ten patients with the same two values each know no more than ten values."""
    values = np.random.default_rng(3).normal(size=10)
    paired = bootstrap_interval(mean_of(2 * values, np.full(10, 2.0)), 10, seed=0, resamples=2000)
    assert paired == interval(values)
    apart = interval(np.repeat(values, 2))
    assert paired is not None
    assert apart.high - apart.low < 0.8 * (paired.high - paired.low)


def test_intervals_hang_on_the_seed_alone() -> None:
    values = np.random.default_rng(4).normal(size=12)
    assert interval(values, seed=5) == interval(values, seed=5) != interval(values, seed=6)


def test_samples_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(size=12)
    whole = interval(values)
    monkeypatch.setattr(module, "_AT_ONCE", 50)
    assert interval(values) == whole


def test_what_does_not_vary_has_no_width_and_one_patient_no_interval() -> None:
    assert interval(np.full(5, 0.25)) == Interval(0.25, 0.25)
    assert bootstrap_interval(mean_of(np.ones(1), np.ones(1)), 1, seed=0) is None
    nobody = bootstrap_interval(mean_of(np.zeros(3), np.zeros(3)), 3, seed=0)
    assert nobody is None


def enumerated(differences: list[float], ranked: bool) -> float:
    """Two-sided p by trying all signs."""
    rounded = [round(one, 12) for one in differences if one]
    sizes = stats.rankdata(np.abs(rounded)) if ranked else np.abs(rounded)
    observed = abs(sum(np.sign(rounded) * sizes))
    sums = [abs(sum(np.array(signs) * sizes)) for signs in product((-1, 1), repeat=len(rounded))]
    return float(np.mean([one >= observed - 1e-9 for one in sums]))


@settings(max_examples=60)
@given(FEW)
def test_small_p_values_are_those_of_all_flips(differences: list[float]) -> None:
    values = np.array(differences)
    assert sign_flip_p(values, seed=0) == pytest.approx(enumerated(differences, ranked=False))
    assert signed_rank_p(values) == pytest.approx(enumerated(differences, ranked=True))


@pytest.mark.parametrize("size", [6, 25, 60])
def test_signed_ranks_agree_with_scipy(size: int) -> None:
    values = np.random.default_rng(size).normal(0.2, 1.0, size)
    assert signed_rank_p(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, rel=1e-9)


def test_very_many_ranks_are_approximated(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(0.1, 1.0, 300)
    exact = signed_rank_p(values)
    monkeypatch.setattr(module, "MOST_EXACT_RANKS", 100)
    assert exact != signed_rank_p(values) == pytest.approx(exact, rel=0.02)


def test_many_flips_agree_with_scipy() -> None:
    values = np.random.default_rng(7).normal(0.25, 1.0, 40)
    theirs = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=50_000, rng=np.random.default_rng(0)
    ).pvalue
    assert sign_flip_p(values, seed=0) == pytest.approx(theirs, abs=0.01)
    assert sign_flip_p(values, seed=0) == sign_flip_p(values, seed=0) != sign_flip_p(values, seed=1)


def test_random_flips_are_near_all_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(8).normal(0.4, 1.0, 15)
    exact = sign_flip_p(values, seed=0)
    monkeypatch.setattr(module, "MOST_EXACT_FLIPS", 5)
    assert exact != sign_flip_p(values, seed=0) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("pairs", [1, 5, 12])
def test_the_least_p_is_that_of_signs_all_alike(pairs: int) -> None:
    alike = np.arange(1.0, pairs + 1)
    assert sign_flip_p(alike, seed=0) == signed_rank_p(alike) == least_p(pairs)
    assert least_p(5) == 0.0625


def test_no_difference_is_no_finding() -> None:
    assert sign_flip_p(np.zeros(4), seed=0) == signed_rank_p(np.zeros(4)) == 1.0
    assert sign_flip_p(np.empty(0), seed=0) == signed_rank_p(np.empty(0)) == 1.0


def test_p_values_are_as_small_as_they_say_where_nothing_differs() -> None:
    random = np.random.default_rng(9)
    p_values = [signed_rank_p(random.normal(size=12)) for _ in range(1000)]
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_holm_corrects_in_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
