from typing import Any

import pytest

from mim3d.errors import worded


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (("liver", "spleen"), "liver, spleen"),
        ({"folds": 2, "fold": 0}, "folds 2, fold 0"),
        ({"window": {"low": -175.0, "high": 250.0}}, "window low -175.0, high 250.0"),
        ((), "none"),
        (None, "none"),
        ("", "none"),
        (0, "0"),
        (False, "no"),
        ((True, None), "yes, none"),
    ],
)
def test_settings_are_put_into_words(value: Any, words: str) -> None:
    assert worded(value) == words
