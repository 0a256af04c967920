import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mim3d.config import Optimisation, Schedule
from mim3d.train.schedule import lr_at, second_tooth


def test_the_learning_rate_rises_linearly_and_falls_as_a_half_cosine() -> None:
    optimisation = Optimisation(steps=110, warmup_steps=10, lr=2.0)
    rates = [lr_at(step, optimisation) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[35] == pytest.approx(1 + math.cos(math.pi / 4))
    assert rates[109] == pytest.approx(1 + math.cos(math.pi * 0.99))


@given(
    schedule=st.sampled_from(get_args(Schedule)),
    steps=st.integers(1, 200),
    warmup=st.integers(0, 300),
    first=st.integers(0, 300),
    lr=st.floats(1e-6, 1),
)
def test_the_learning_rate_is_positive_and_never_above_its_peak(
    schedule: Schedule, steps: int, warmup: int, first: int, lr: float
) -> None:
    optimisation = Optimisation(steps=steps, warmup_steps=warmup, lr=lr, schedule=schedule, first_tooth=first)
    rates = [lr_at(step, optimisation) for step in range(steps)]
    assert all(0 < rate <= lr * (1 + 1e-12) for rate in rates)
    begin = second_tooth(optimisation)
    peak = min(begin + warmup, steps - 1)
    for rising in (rates[:begin], rates[begin:peak]):
        assert rising == sorted(rising)
        assert not rising or peak == steps - 1 or rising[-1] == pytest.approx(lr)
    assert peak < begin or rates[peak] == pytest.approx(lr)
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert lr_at(steps, optimisation) == pytest.approx(lr if schedule == "constant" else 0, abs=1e-12)


def test_a_polynomial_falls_with_a_power_of_nine_tenths() -> None:
    optimisation = Optimisation(steps=110, warmup_steps=10, lr=2.0, schedule="poly")
    assert lr_at(10, optimisation) == 2.0
    assert lr_at(60, optimisation) == pytest.approx(2 * 0.5**0.9)
    assert lr_at(109, optimisation) == pytest.approx(2 * 0.01**0.9)


def test_a_constant_stays_after_warm_up() -> None:
    optimisation = Optimisation(steps=20, warmup_steps=4, lr=2.0, schedule="constant")
    assert [lr_at(step, optimisation) for step in (0, 3, 4, 19)] == [0.5, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(("first_tooth", "begin"), [(0, 10), (20, 20), (500, 109)])
def test_a_sawtooth_rises_twice_and_then_falls(first_tooth: int, begin: int) -> None:
    optimisation = Optimisation(
        steps=110, warmup_steps=10, lr=2.0, schedule="sawtooth", first_tooth=first_tooth
    )
    assert second_tooth(optimisation) == begin
    assert lr_at(0, optimisation) == pytest.approx(2 / begin)
    assert lr_at(begin - 1, optimisation) == 2.0
    if begin == 109:
        return
    assert lr_at(begin, optimisation) == pytest.approx(0.2)
    assert lr_at(begin + 10, optimisation) == 2.0
    half = (begin + 10 + 110) // 2
    assert lr_at(half, optimisation) == pytest.approx(2 * 0.5**0.9)


def test_other_schedules_have_one_tooth() -> None:
    assert second_tooth(Optimisation(first_tooth=9)) == 0
