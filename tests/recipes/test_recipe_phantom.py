import json
from pathlib import Path

import pytest

from mim3d.errors import DataError
from mim3d.recipes.phantom import phantom


def test_the_recipe_passes_every_option_on(tmp_path: Path) -> None:
    images = phantom(
        tmp_path,
        cases=1,
        seed=3,
        shape=(32, 33, 34),
        spacing=8.0,
        lesions=False,
        separate_kidneys=True,
        workers=1,
    )
    assert [image.name for image in images] == ["phantom_0000_0000.nii.gz"]
    options = json.loads((tmp_path / "phantom.json").read_text())
    assert options == {
        "revision": 1,
        "seed": 3,
        "shape": [32, 33, 34],
        "spacing": 8.0,
        "lesions": False,
        "separate_kidneys": True,
    }
    assert "right_kidney" in json.loads((tmp_path / "dataset.json").read_text())["labels"]


def test_the_recipe_refuses_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="seed must be 0 or more"):
        phantom(tmp_path, seed=-1)
