"""Preparations that are refused, and what may be there all the same when one begins."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.data.alone import alone
from mim3d.data.catalog import read_rejected
from mim3d.data.prepare import Prepared, prepare_store
from mim3d.data.private import open_private
from mim3d.data.volume import write_nifti
from mim3d.errors import ConfigError, DataError, GeometryError, StoreError


def run(raw: Path, store: Path, **options: Any) -> Prepared:
    return prepare_store(raw, store, **{"spacing": (3.0, 3.0, 3.0), "workers": 1, **options})


def test_nothing_left_is_an_error(
    raw: Path, tmp_path: Path, labels: Callable[[int], NDArray[np.int16]], affine: NDArray[np.float64]
) -> None:
    for number in range(5):
        write_nifti(raw / f"label{number}.nii", labels(number)[:5], affine)
    with pytest.raises(DataError, match=r"raw: none of its 5 scans could be used; the first: the label map"):
        run(raw, tmp_path / "store")
    assert len(read_rejected(tmp_path / "store")) == 5


@pytest.mark.parametrize("side", [0.0, math.nan, math.inf])
def test_a_spacing_that_cannot_be(raw: Path, tmp_path: Path, side: float) -> None:
    message = rf"spacing must be positive and finite on every axis, got \(1\.0, {side}, 1"
    with pytest.raises(GeometryError, match=message):
        run(raw, tmp_path / "store", spacing=(1.0, side, 1.0))


def test_workers_must_be_some(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers must be at least 1, got 0"):
        prepare_store(raw, tmp_path / "store", workers=0)


def test_a_folder_of_other_things_is_left_alone(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="store: not a store, and not empty; name a new or empty folder"):
        run(raw, tmp_path / "store")
    assert not (tmp_path / "store.private").exists()


def test_one_name_for_two_files_is_refused(
    raw: Path,
    tmp_path: Path,
    scan: Callable[[int], NDArray[np.int16]],
    affine: NDArray[np.float64],
    write_rows: Callable[[Path, list[dict[str, str]]], Path],
) -> None:
    run(raw, tmp_path / "store")
    other = tmp_path / "other"
    write_nifti(other / "a.nii.gz", scan(50), affine)
    write_rows(other, [{"case": "case0", "image": "a.nii.gz"}])
    with pytest.raises(
        DataError, match="case case0: the store has a case of this name from another file; rename"
    ):
        run(other, tmp_path / "store")


def test_a_label_set_of_another_meaning_is_refused(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "store")
    (raw / "label_sets.json").write_text(json.dumps({"organs": {"structures": {"heart": 1}}}))
    with pytest.raises(StoreError, match=r"label set organs: the store has .*liver.*, the data set .*heart"):
        run(raw, tmp_path / "store")


def test_a_label_set_without_a_definition_is_refused(raw: Path, tmp_path: Path) -> None:
    (raw / "label_sets.json").unlink()
    with pytest.raises(
        DataError, match=r"label set 'organs' is not defined \(defined: none\); say in a label_sets"
    ):
        run(raw, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_two_preparations_at_once_are_refused(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with (
        alone(store, open_private(store).path),
        pytest.raises(StoreError, match="store: another preparation or copy is writing into it; wait until"),
    ):
        run(raw, store)
    assert run(raw, store).made == 5


def test_a_store_that_was_only_just_begun_is_one(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".99-store.json").write_text("{")
    assert run(raw, tmp_path / "store").made == 5
    assert not (tmp_path / "store" / ".99-store.json").exists()


def test_other_settings_are_refused(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "store")
    message = (
        r"prepared with spacing 3 x 3 x 3 mm, but spacing 1\.5 x 1\.5 x 1\.5 mm is asked; use the store's own"
    )
    with pytest.raises(StoreError, match=message):
        run(raw, tmp_path / "store", spacing=(1.5, 1.5, 1.5))
    with pytest.raises(StoreError, match="but spacing native is asked"):
        run(raw, tmp_path / "store", spacing="native")
    with pytest.raises(StoreError, match="but spacing 3 x 3 x 3 mm and the finer original kept is asked"):
        run(raw, tmp_path / "store", keep_native=True)
