"""A volume in memory is looked at as one in a store is, bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mim3d.data.cells import look
from mim3d.data.intensity import Quantised
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple


@pytest.fixture(scope="module")
def kept(store: Store) -> Quantised:
    """The first case of the store, in memory."""
    x, y, z = store.catalog.cases[0].shape
    whole = store.read(
        store.catalog.cases[0].case, Box((0.0, 0.0, 0.0), (float(x), float(y), float(z))), (x, y, z)
    )
    return Quantised(whole[0].astype(np.int16), 1.0, -1024.0)


CORNERS = st.tuples(*[st.floats(-10, 20)] * 3)
SIZES = st.tuples(*[st.floats(2, 60)] * 3)
SHAPES = st.tuples(*[st.integers(2, 16)] * 3)


@given(corner=CORNERS, size=SIZES, shape=SHAPES)
def test_any_box_at_any_resolution(
    store: Store,
    kept: Quantised,
    corner: tuple[float, float, float],
    size: tuple[float, float, float],
    shape: Triple,
) -> None:
    box = Box(corner, size)
    stored = store.read(store.catalog.cases[0].case, box, shape)
    np.testing.assert_array_equal(look([kept], box, shape), stored)


def test_intensities_are_steps_times_their_slope(kept: Quantised) -> None:
    box = Box((-4.0, 0.0, 0.0), (8.0, 8.0, 8.0))
    plain, doubled = (look([Quantised(kept.array, slope, 0.0)], box, (8, 8, 8)) for slope in (1.0, 2.0))
    np.testing.assert_array_equal(doubled, 2 * plain)
    assert (plain[0, :4] == 0).all()
