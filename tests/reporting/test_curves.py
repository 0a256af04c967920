import re

import numpy as np
import pytest

from mim3d.reporting.curves import INK, Curve, apart_enough, dot_chart, line_chart, smoothed, thinned


def test_smoothing_is_the_mean_of_the_neighbours() -> None:
    values = np.array([0.0, 3.0, 6.0, 0.0])
    assert smoothed(values, 3) == pytest.approx([1.5, 3.0, 3.0, 3.0])
    assert smoothed(np.array([2.0]), 9) == pytest.approx([2.0])


@pytest.mark.parametrize("count", [1, 2, 399, 400, 401, 5000])
def test_thinning_keeps_both_ends(count: int) -> None:
    kept = thinned(np.arange(float(count)))
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert len(kept) <= 402
    assert len(np.unique(kept)) == len(kept)


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_a_line_chart_takes_ink_and_size_from_the_page(count: int) -> None:
    steps = np.arange(float(count))
    values = np.where(steps % 3 == 1, np.nan, steps)
    curves = [Curve(label=name, steps=steps, values=values) for name in ("a<b", "c")]
    svg = line_chart("Loss", "caption", curves).svg
    assert svg.startswith('<svg class="chart" viewBox="0 0 ')
    assert INK not in svg
    assert "currentColor" in svg
    assert "a&lt;b" in svg
    assert not re.search(r"<style|<script|font-family|font: ", svg)


def test_a_chart_is_the_same_every_time() -> None:
    curves = [Curve(label="a", steps=np.arange(5.0), values=np.arange(5.0))]
    assert line_chart("t", "", curves) == line_chart("t", "", curves)


def test_a_dot_chart_leaves_out_what_is_not_known() -> None:
    columns = {"first": [0.5, float("nan")], "second": [0.7, float("nan")]}
    svg = dot_chart("Dice", "", ("liver", "spleen"), columns).svg
    assert all(word in svg for word in ("liver", "spleen", "first", "second"))


def test_rounding_does_not_look_like_learning() -> None:
    assert apart_enough(2.0, 2.0 + 1e-9) == pytest.approx((1.999, 2.001), abs=1e-6)
    assert apart_enough(-3.0, 1.0) == (-3.0, 1.0)
    steps = np.arange(20.0)
    svg = line_chart("Loss", "", [Curve(label="loss", steps=steps, values=1.2345 + 1e-10 * steps)]).svg
    ticks = re.findall(r">(1\.23\d+)<", svg)
    assert len(set(ticks)) == len(ticks) > 3
