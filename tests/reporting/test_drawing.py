import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from mim3d.reporting.drawing import area_path, bar_length, contour_path, png_uri, shrink, to_grey

FLAGS = arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6)))


def test_a_grey_image_survives_the_page() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    kind, _, content = png_uri(grey).partition(",")
    assert kind == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), grey)


def test_grey_is_stretched_and_clipped() -> None:
    assert to_grey(np.array([[-1.0, 0.0, 0.5, 2.0, np.nan]]), 0, 1).tolist() == [[0, 0, 128, 255, 0]]
    assert to_grey(np.array([[0.5]]), 0, 1, gamma=2).tolist() == [[64]]


@given(FLAGS)
def test_an_area_covers_the_true_pixels(flags: NDArray[np.bool_]) -> None:
    drawn = np.zeros_like(flags)
    for column, row, length in re.findall(r"M(\d+) (\d+)h(\d+)", area_path(flags)):
        drawn[int(row), int(column) : int(column) + int(length)] = True
    assert np.array_equal(drawn, flags)


def test_an_area_of_tokens_is_drawn_in_pixels() -> None:
    assert area_path(np.array([[False, True], [False, False]]), height=4, width=3) == "M3 0h3v4h-3z"


@given(FLAGS)
def test_a_contour_is_as_long_as_the_edge(flags: NDArray[np.bool_]) -> None:
    padded = np.pad(flags, 1)
    edges = sum(int((np.diff(padded, axis=axis)).sum()) for axis in (0, 1))
    drawn = sum(int(length) for length in re.findall(r"[hv](\d+)", contour_path(flags)))
    assert drawn == edges


def test_a_contour_runs_along_the_edge() -> None:
    flags = np.array([[False, False], [False, True]])
    assert contour_path(flags) == "M1 1h1M1 2h1M1 1v1M2 1v1"


@pytest.mark.parametrize(("width", "length"), [(192, 50), (96, 20), (24, 5), (3.4, 1), (0.5, 0.1)])
def test_scale_bars_are_round(width: float, length: float) -> None:
    assert bar_length(width) == pytest.approx(length)


def test_shrinking_averages_and_drops_the_rest() -> None:
    assert shrink(np.arange(10.0).reshape(2, 5), 2).tolist() == [[3.0, 5.0]]
