"""How intensities are kept, measured and shown."""

import numpy as np
import pytest

from mim3d.config import Window
from mim3d.data.intensity import apply_window, body_of, quantise, require_contrast, statistics, window_of
from mim3d.errors import DataError


def scan(*values: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array(values, float).reshape(-1, 1, 1)


def test_ct_is_rounded_and_kept_wide() -> None:
    kept = quantise(scan(-2048, -1024, 0.6, 0.4, 3071, 30000))
    assert kept.array.ravel().tolist() == [-1024, -1024, 1, 0, 3071, 3071]
    assert kept.array.dtype == np.int16
    assert (kept.slope, kept.padding) == (1.0, -1024.0)


def test_what_is_not_finite_is_air() -> None:
    kept = quantise(scan(np.nan, np.inf, -np.inf, 40))
    assert kept.array.ravel().tolist() == [-1024, -1024, -1024, 40]


def test_nothing_finite_is_refused() -> None:
    with pytest.raises(DataError, match="no voxel has a finite intensity"):
        quantise(scan(np.nan, np.inf))


def test_one_intensity_is_refused() -> None:
    with pytest.raises(DataError, match="all voxels have the same intensity, 5; intensities that differ"):
        quantise(scan(5, 5))


def test_mr_keeps_its_whole_numbers() -> None:
    kept = quantise(np.array([0, 7, 4000], np.int16).reshape(3, 1, 1), "MR")
    assert kept.array.ravel().tolist() == [0, 7, 4000]
    assert (kept.slope, kept.padding) == (1.0, 0.0)


@pytest.mark.parametrize("largest", [0.01, 1.0, 70000.0])
def test_mr_fills_sixteen_bits(largest: float) -> None:
    values = np.linspace(0, largest, 50)
    kept = quantise(scan(*values), "MR")
    np.testing.assert_allclose(kept.array.ravel() * kept.slope, values, atol=largest / 16000)


def test_window() -> None:
    shown = apply_window(np.array([-2000, -1000, 0, 500, 3000]), Window(low=-1000, high=1000))
    assert shown.dtype == np.float32
    assert shown.tolist() == [0.0, 0.0, 0.5, 0.75, 1.0]


def test_statistics_are_of_the_body() -> None:
    kept = quantise(scan(*[-1024] * 6, 10, 20, 30, 40))
    found = statistics(kept)
    assert found["mean"] == 25.0
    assert found["std"] == pytest.approx(np.std([10, 20, 30, 40]))
    assert found["p005"] == pytest.approx(10.15)
    assert found["p995"] == pytest.approx(39.85)
    assert (found["minimum"], found["maximum"], found["body_share"]) == (10.0, 40.0, 0.4)


def test_statistics_without_a_body_are_of_all() -> None:
    kept = quantise(scan(-1000, -900))
    assert statistics(kept)["mean"] == -950.0


def test_body_of_mr_is_what_is_bright() -> None:
    kept = quantise(scan(0, 0, 100), "MR")
    assert body_of(kept, "MR").ravel().tolist() == [False, False, True]


MEASURED = {"mean": 100.0, "std": 20.0, "p005": 40.0, "p995": 180.0}


def test_ct_keeps_the_runs_window() -> None:
    window = Window(low=-175, high=250)
    assert window_of("CT", MEASURED, window, "deviations") is window


def test_what_has_no_unit_is_scaled_by_the_case() -> None:
    assert window_of("MR", MEASURED, Window(), "percentiles") == Window(low=40, high=180)
    assert window_of("PT", MEASURED, Window(), "deviations") == Window(low=40, high=160)


def test_a_body_of_one_intensity_is_refused() -> None:
    flat = {**MEASURED, "p995": 40.0}
    with pytest.raises(DataError, match=r"the percentiles 0\.5 and 99\.5 of its body are both 40; intens"):
        require_contrast("MR", flat)
    require_contrast("CT", flat)
