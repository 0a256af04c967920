import math

import numpy as np
import pytest

from mim3d.metrics.overlap import dice, volume_ml


def test_dice_is_twice_the_shared_over_the_sum() -> None:
    predicted = np.zeros((4, 4, 4), bool)
    truth = predicted.copy()
    predicted[:2], truth[1:3] = True, True
    assert dice(predicted, truth) == 0.5
    assert dice(truth, truth) == 1.0
    assert dice(predicted, np.zeros_like(truth)) == 0.0


def test_dice_of_nothing_is_not_a_number() -> None:
    assert math.isnan(dice(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)))


def test_volume_is_in_ml() -> None:
    assert volume_ml(np.ones((10, 10, 10), bool), (1.0, 2.0, 0.5)) == pytest.approx(1.0)
