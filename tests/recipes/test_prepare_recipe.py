"""`mim3d prepare --recipe`: from a data set as it comes to a store with its labels, spacing and splits."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mim3d
from mim3d.data.catalog import Catalog
from mim3d.data.layout import read_description
from mim3d.data.recipe import FOLDER
from mim3d.data.store import open_store
from mim3d.data.volume import write_nifti
from mim3d.errors import DataError, StoreError
from mim3d.geometry import Box
from mim3d.recipes.prepare import prepare


def scan(path: Path, seed: int) -> None:
    voxels = np.random.default_rng(seed).integers(-1000, 1000, (8, 8, 8)).astype(np.int16)
    write_nifti(path, voxels, np.diag([3.0, 3.0, 4.0, 1.0]))


def labels(path: Path, *values: int) -> NDArray[np.int16]:
    voxels = np.zeros((8, 8, 8), np.int16)
    voxels[: len(values), 0, 0] = values
    write_nifti(path, voxels, np.diag([3.0, 3.0, 4.0, 1.0]))
    return voxels


def by_split(catalog: Catalog) -> dict[str, list[str]]:
    return {
        split: [case.case for case in catalog.cases if case.split == split]
        for split in ("train", "val", "test")
    }


@pytest.fixture
def heart(tmp_path: Path) -> Path:
    for n in range(1001, 1010):
        scan(tmp_path / "raw" / "ct_train" / f"ct_train_{n}_image.nii.gz", n)
        labels(tmp_path / "raw" / "ct_train" / f"ct_train_{n}_label.nii.gz", 205, 850, 420)
    return tmp_path / "raw"


def test_labels_spacing_and_splits_of_the_recipe(
    heart: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = prepare(heart, tmp_path / "store", recipe="mm-whs", spacing=(3, 3, 4), workers=1)
    said = capsys.readouterr().err
    assert "mm-whs: ct_train/{case}_image.nii.gz: 9 scans, 20 expected; splits are drawn from what is" in said
    assert {split: len(cases) for split, cases in by_split(catalog).items()} == {
        "train": 4,
        "val": 1,
        "test": 4,
    }
    assert all(case.case.startswith("mm-whs_ct_train_10") for case in catalog.cases)
    settings, sets = read_description(tmp_path / "store")
    assert settings.spacing == (3, 3, 4)
    assert sets["mm-whs"].structures["pulmonary_artery"] == 850
    read = open_store(tmp_path / "store").read_labels(
        catalog.cases[0].case, "mm-whs", Box((0, 0, 0), (8, 8, 8)), (8, 8, 8)
    )
    assert sorted(set(read.flatten().tolist())) == [0, 205, 420, 850]


def test_the_recipe_gives_the_spacing_where_nobody_does(heart: Path, tmp_path: Path) -> None:
    catalog = prepare(heart, tmp_path / "store", recipe="mm-whs:fold-1", workers=1)
    assert catalog.cases[0].spacing == (1.5, 1.5, 1.5)


def test_another_fold_moves_who_is_validated_on_and_not_the_test(heart: Path, tmp_path: Path) -> None:
    folds = [
        by_split(prepare(heart, tmp_path / "store", recipe=f"mm-whs:fold-{n}", spacing=(4.0,), workers=1))
        for n in (0, 1)
    ]
    assert folds[0]["test"] == folds[1]["test"]
    assert not set(folds[0]["val"]) & set(folds[1]["val"])
    cases = open_store(tmp_path / "store").catalog.cases
    assert {case.case for case in cases if case.fold == 1} == set(folds[1]["val"])
    assert {case.case for case in cases if case.fold is None} == set(folds[1]["test"])


def test_a_few_shot_store_keeps_the_others_as_scans(heart: Path, tmp_path: Path) -> None:
    catalog = prepare(heart, tmp_path / "store", recipe="mm-whs:few-4", spacing=(4.0,), workers=1)
    assert len(catalog.select("train").cases) == 4
    (tmp_path / "mine.json").write_text(
        json.dumps(few_of_one(json.loads((FOLDER / "mm-whs.json").read_text())))
    )
    own = str(tmp_path / "mine.json")
    catalog = prepare(heart, tmp_path / "few", recipe=f"{own}:few-1", spacing=(4.0,), workers=1)
    assert len(catalog.select("train").cases) == 4
    assert len(catalog.select("train", "mm-whs").cases) == 1


def few_of_one(content: dict[str, object]) -> dict[str, object]:
    return {**content, "name": "mine", "splits": {"seed": 1, "folds": 5, "test": 4, "few_shot": ["1"]}}


def test_totalsegmentator_with_a_file_for_each_structure(tmp_path: Path) -> None:
    raw = tmp_path / "Totalsegmentator_dataset_v201"
    for n, split in enumerate(("train", "val", "test")):
        scan(raw / f"s{n:04}" / "ct.nii.gz", n)
        mask = np.zeros((8, 8, 8), np.uint8)
        mask[n, 1, 2] = 1
        for name in ("spleen", "costal_cartilages"):
            write_nifti(raw / f"s{n:04}" / "segmentations" / f"{name}.nii.gz", mask, np.diag([3.0, 3, 4, 1]))
            mask = np.roll(mask, 1, axis=2)
        with (raw / "meta.csv").open("a") as file:
            file.write(("image_id;split\n" if n == 0 else "") + f"s{n:04};{split}\n")
    catalog = prepare(raw, tmp_path / "store", recipe="totalsegmentator", spacing=(3, 3, 4), workers=1)
    assert by_split(catalog) == {
        "train": ["totalsegmentator_s0000"],
        "val": ["totalsegmentator_s0001"],
        "test": ["totalsegmentator_s0002"],
    }
    assert catalog.cases[1].labels == {"totalsegmentator": (1, 117)}
    read = open_store(tmp_path / "store").read_labels(
        "totalsegmentator_s0001", "totalsegmentator", Box((0, 0, 0), (8, 8, 8)), (8, 8, 8)
    )
    assert (read[1, 1, 2], read[1, 1, 3]) == (1, 117)
    assert read.sum() == 118


def test_nothing_is_written_where_something_is_missing(
    heart: Path, tmp_path: Path, failing: Callable[..., str]
) -> None:
    (heart / "ct_train" / "ct_train_1003_label.nii.gz").unlink()
    line = failing("prepare", heart, tmp_path / "store", "--recipe", "mm-whs")
    assert "1 of 9 scans have no labels: ct_train_1003. `mim3d datasets mm-whs` says how to get it" in line
    assert not (tmp_path / "store").exists()
    assert failing("prepare", heart, tmp_path / "store", "--recipe", "mmwhs").startswith(
        "recipe mmwhs: no such"
    )


def test_nothing_usable_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "data" / "mha").mkdir(parents=True)
    (tmp_path / "data" / "mha" / "7.mha").write_text("x")
    with pytest.raises(DataError, match=r"none of its 1 scans could be used; the first: the scan: "):
        prepare(tmp_path, tmp_path / "store", recipe="stoic2021", workers=1)


def test_patients_of_two_covid_sets_stay_in_one_split(tmp_path: Path) -> None:
    content = json.loads((FOLDER / "covid-19-20.json").read_text())
    small = {**content, "name": "mine", "splits": {"seed": 1, "folds": 2, "test": 2}}
    (tmp_path / "mine.json").write_text(json.dumps(small))
    for n in range(6):
        case = tmp_path / "labelled" / "Train" / f"volume-covid19-A-{n:04}"
        scan(case.with_name(case.name + "_ct.nii.gz"), n)
        labels(case.with_name(case.name + "_seg.nii.gz"), 1)
        scan(tmp_path / "more" / f"volume-covid19-A-{n + 1:04}.nii.gz", n)
    raw, store = tmp_path / "labelled", tmp_path / "store"
    first = prepare(raw, store, recipe=str(tmp_path / "mine.json"), spacing=(4.0,), workers=1)
    held = {case.case[-4:]: case.split for case in first.cases}
    assert sorted(held.values()) == ["test", "test", "train", "train", "val", "val"]
    both = prepare(tmp_path / "more", store, recipe="tcia-covid19", spacing=(4.0,), workers=1)
    found = {case.case[-4:]: case.split for case in both.cases if case.case.startswith("tcia")}
    assert found == {**{number: split for number, split in held.items() if number != "0000"}, "0006": "train"}


def test_a_store_is_of_one_spacing(heart: Path, tmp_path: Path) -> None:
    prepare(heart, tmp_path / "store", recipe="mm-whs", workers=1)
    with pytest.raises(
        StoreError, match=r"prepared with spacing 1\.5 x 1\.5 x 1\.5 mm, but spacing 4 x 4 x 4 mm"
    ):
        prepare(heart, tmp_path / "store", recipe="mm-whs", spacing=(4.0,), workers=1)


def test_the_command_lists_and_shows(capsys: pytest.CaptureFixture[str], failing: Callable[..., str]) -> None:
    from mim3d import cli

    assert cli.main(["datasets"]) == 0
    assert capsys.readouterr().out == mim3d.datasets() + "\n"
    assert cli.main(["datasets", "btcv"]) == 0
    assert capsys.readouterr().out.startswith("btcv: BTCV, Multi-Atlas Labeling Beyond the Cranial Vault")
    assert failing("datasets", "btvc").startswith("recipe btvc: no such recipe; there are amos22, btcv")
