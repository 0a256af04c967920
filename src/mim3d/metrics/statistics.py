"""What a number of cases can tell: bootstrap intervals, exact paired tests, correction for many tests.

Shapes: N units that are independent of one another (patients), R resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import rankdata, wilcoxon

RESAMPLES = 10_000
"""Of a bootstrap."""
CONFIDENCE = 0.95
"""Of an interval."""
MOST_EXACT_FLIPS = 20
"""Differences whose signs are flipped in every way; of more, in `RANDOM_FLIPS` ways."""
RANDOM_FLIPS = 100_000
MOST_EXACT_RANKS = 1000
"""Differences whose signed ranks are counted exactly; of more, a normal distribution stands for the count."""
_AT_ONCE = 2_000_000
"""Numbers that are drawn together."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""How often each unit is taken (R, N) to what is measured of each such sample (R,); NaN if it cannot be."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of values."""

    low: float
    high: float


def bootstrap_interval(
    statistic: Statistic, units: int, *, seed: int, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> Interval | None:
    """Bias-corrected and accelerated bootstrap interval (BCa), expanded; None for fewer than two units.

    Source: Efron 1987, Journal of the American Statistical Association 82(397), sec. 4; acceleration by the
    jackknife as in Efron and Tibshirani 1993, eq. 14.15. Expanded as in Hesterberg 2015, arXiv:1411.5279, by
    quantiles of Student's t and the root of N / (N - 1): without that it is too narrow for few units.
    Samples whose statistic is NaN are left out.

    Args:
        statistic: What is measured.
        units: Number of units that samples are drawn from, with replacement.
        seed: Of the samples.
        resamples: Number of samples.
        confidence: Share of such intervals that hold the true value, 0 to 1.
    """
    if units < 2:
        return None
    whole = float(statistic(np.ones((1, units)))[0])
    found = np.concatenate([statistic(weights) for weights in _samples(units, resamples, seed)])
    found = np.sort(found[np.isfinite(found)])
    if not len(found) or not np.isfinite(whole):
        return None
    if np.ptp(found) <= 1e-12 * max(abs(whole), 1.0):
        return Interval(whole, whole)
    without = statistic(1 - np.eye(units))  # the jackknife: each unit left out once
    places = _bca_places(found, whole, without[np.isfinite(without)], _ends(units, confidence))
    low, high = np.quantile(found, places)
    return Interval(float(low), float(high))


def mean_of(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> Statistic:
    """The mean over what the units hold: sums (N,) of values, and how many (N,) of them each unit has."""

    def mean(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        taken = weights @ counts  # (R,)
        means: NDArray[np.float64] = np.full(len(weights), np.nan)
        np.divide(weights @ sums, taken, out=means, where=taken > 0)
        return means

    return mean


def sign_flip_p(differences: NDArray[np.float64], seed: int) -> float:
    """Two-sided p of a sum of differences (N,) among all sums with signs flipped; 1 where all are 0.

    Exact up to `MOST_EXACT_FLIPS` differences other than 0; of more, of `RANDOM_FLIPS` random flips, the
    observed one counted among them.
    Source: Fisher 1935, The Design of Experiments, sec. 21; for random flips Phipson and Smyth 2010,
    arXiv:1603.05766, eq. 2.
    """
    moving = differences[np.abs(differences) > 1e-12 * max(float(np.abs(differences).max(initial=0)), 1e-300)]
    if not len(moving):
        return 1.0
    least = abs(float(moving.sum())) - 1e-9 * float(np.abs(moving).sum())  # equal sums must count as equal
    if len(moving) <= MOST_EXACT_FLIPS:
        sums = np.zeros(1)
        for one in moving:
            sums = np.concatenate((sums + one, sums - one))
        return float(np.mean(np.abs(sums) >= least))
    random = np.random.default_rng(seed)
    extreme, rows = 0, max(_AT_ONCE // len(moving), 1)
    for first in range(0, RANDOM_FLIPS, rows):
        signs = random.integers(0, 2, (min(rows, RANDOM_FLIPS - first), len(moving))) * 2 - 1
        extreme += int((np.abs(signs @ moving) >= least).sum())
    return (extreme + 1) / (RANDOM_FLIPS + 1)


def signed_rank_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of differences (N,); 1 where all are 0.

    Differences of 0 are left out, equal sizes share their ranks; the p is exact, with ties too, up to
    `MOST_EXACT_RANKS` differences.
    Source: Wilcoxon 1945, Biometrics Bulletin 1(6).
    """
    rounded = np.round(differences, 12)  # equal but for rounding is equal
    moving = rounded[rounded != 0]
    if not len(moving):
        return 1.0
    if len(moving) > MOST_EXACT_RANKS:
        return float(wilcoxon(moving, method="approx").pvalue)
    ranks = np.rint(2 * rankdata(np.abs(moving))).astype(np.int64)  # doubled: whole numbers
    ranks //= np.gcd.reduce(ranks)
    chances = _chances_of_sums(ranks)
    positive = int(ranks[moving > 0].sum())
    tail = min(chances[: positive + 1].sum(), chances[positive:].sum())
    return float(min(1.0, 2 * tail))


def _chances_of_sums(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """The chance of each sum, from 0, of the ranks (N,) of those differences that happen to be positive."""
    chances = np.zeros(int(ranks.sum()) + 1)
    chances[0], held = 1.0, 1
    for rank in np.sort(ranks).tolist():  # the small ones first: there are fewer sums to go through
        half = chances[:held] / 2
        chances[:held] = half
        chances[rank : held + rank] += half
        held += rank
    return chances


def least_p(pairs: int) -> float:
    """The smallest two-sided p that flips of signs can give for a number of pairs: all signs alike."""
    return min(1.0, 2.0 ** (1 - pairs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p corrected for how many there are, so that the chance of any false finding stays below a level.

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2).
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def _samples(units: int, resamples: int, seed: int) -> list[NDArray[np.float64]]:
    """How often each unit is taken, (R, N) in pieces."""
    random = np.random.default_rng(seed)
    rows = max(_AT_ONCE // units, 1)
    pieces = []
    for first in range(0, resamples, rows):
        taken = random.multinomial(units, np.full(units, 1 / units), min(rows, resamples - first))
        pieces.append(taken.astype(np.float64))
    return pieces


def _bca_places(
    found: NDArray[np.float64], whole: float, without: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where in the sorted samples the ends of the interval lie, (2,), 0 to 1."""
    below = (np.searchsorted(found, whole, "left") + np.searchsorted(found, whole, "right")) / 2 / len(found)
    bias = ndtri(np.clip(below, 1 / (len(found) + 1), len(found) / (len(found) + 1)))
    apart = without.mean() - without
    squares = float((apart**2).sum())
    acceleration = float((apart**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    places: NDArray[np.float64] = ndtr(bias + (bias + ends) / (1 - acceleration * (bias + ends)))
    return places


def _ends(units: int, confidence: float) -> NDArray[np.float64]:
    """Ends of the interval of a mean, in standard errors (2,)."""
    shares = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    ends: NDArray[np.float64] = stdtrit(units - 1, shares) * np.sqrt(units / (units - 1))
    return ends
