"""Settings of a classifier that cannot be are refused, with what can."""

from typing import Any

import pytest

from mim3d.config import ClassifyConfig, Optimisation, Runtime
from mim3d.errors import ConfigError, GeometryError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more, and below 2^63, got -1"),
        ({"pooling": "max"}, "pooling must be one of mean, attention, got 'max'"),
        ({"class_weights": "some"}, "class_weights must be one of none, balanced, got 'some'"),
        ({"intensity": "z"}, "intensity must be one of window, min_max, got 'z'"),
        (
            {"chosen_by": "loss"},
            "chosen_by must be one of auroc, accuracy, balanced_accuracy, f1, got 'loss'",
        ),
        ({"validate_every": 0}, "validate_every must be at least 1 step, got 0"),
        ({"extent": (300.0, 0.0, 1.0)}, "extent must be above 0 mm, and finite, got (300.0, 0.0, 1.0)"),
        ({"classes": ("a", "a")}, "classes must be different from one another, got a, a"),
        (
            {"optimisation": Optimisation(schedule="sawtooth"), "runtime": Runtime(devices=2)},
            "schedule sawtooth works on one device as yet, got devices 2; take one, or cosine with "
            "transfer.layer_decay",
        ),
    ],
)
def test_a_setting_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ClassifyConfig(**settings)
    assert str(refused.value) == message


def test_a_crop_is_made_of_patches() -> None:
    with pytest.raises(
        GeometryError, match=r"crop \(384, 384, 30\) must be a positive multiple of \(16, 16, 16\)"
    ):
        ClassifyConfig(crop=(384, 384, 30))
