"""Two label maps that differ in every way that counts."""

import numpy as np
import pytest
from numpy.typing import NDArray

Maps = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture
def label_maps() -> Maps:
    """Liver 1 in both, spleen 2 in the truth only, kidney 3 in the prediction only, 7 and 9 in neither."""
    predicted, truth = np.zeros((12, 12, 12), np.uint8), np.zeros((12, 12, 12), np.uint8)
    predicted[1:6, 1:6, 1:6], truth[2:6, 1:6, 1:7] = 1, 1
    truth[8:10, 8:10, 8:10] = 2
    predicted[8:10, 1:3, 8:10] = 3
    return predicted, truth
