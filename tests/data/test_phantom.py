import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions, draw_phantom
from mim3d.errors import DataError

OPTIONS = PhantomOptions(seed=7, shape=(32, 32, 32), spacing=9.0)


@pytest.fixture(name="cohort", scope="module")
def make_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "cohort"
    make_phantoms(folder, OPTIONS, cases=3)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_layout_is_that_of_nnunet(cohort: Path) -> None:
    assert sorted(contents(cohort)) == sorted(
        ["cases.csv", "dataset.json", "phantom.json", "targets.csv"]
        + [f"imagesTr/phantom_000{n}_0000.nii.gz" for n in range(3)]
        + [f"labelsTr/phantom_000{n}.nii.gz" for n in range(3)]
    )
    dataset = json.loads((cohort / "dataset.json").read_text())
    assert dataset["name"] == "phantom"
    assert dataset["channel_names"] == {"0": "CT"}
    assert dataset["labels"]["background"] == 0
    assert dataset["labels"]["kidneys"] == 5
    assert (dataset["numTraining"], dataset["file_ending"]) == (3, ".nii.gz")


def test_files_hold_the_drawn_patient(cohort: Path) -> None:
    phantom = draw_phantom(1, OPTIONS)
    image = nib.load(cohort / "imagesTr" / "phantom_0001_0000.nii.gz")
    labels = nib.load(cohort / "labelsTr" / "phantom_0001.nii.gz")
    assert (image.get_data_dtype(), labels.get_data_dtype()) == (np.int16, np.uint8)
    np.testing.assert_array_equal(np.asarray(image.dataobj), phantom.hu)
    np.testing.assert_array_equal(np.asarray(labels.dataobj), phantom.labels)
    for file in (image, labels):
        assert nib.aff2axcodes(file.affine) == ("R", "A", "S")
        np.testing.assert_allclose(file.affine, phantom.affine)


def test_the_table_tells_phase_and_disease(cohort: Path) -> None:
    with (cohort / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["phantom_0000", "phantom_0001", "phantom_0002"]
    plan = draw_phantom(2, OPTIONS).plan
    assert (rows[2]["phase"], rows[2]["disease"]) == (plan.phase, plan.disease)


def test_number_of_cases_and_processes_change_no_byte(cohort: Path, tmp_path: Path) -> None:
    make_phantoms(tmp_path, OPTIONS, cases=1)
    images = make_phantoms(tmp_path, OPTIONS, cases=3, workers=2)
    assert contents(tmp_path) == contents(cohort)
    assert images == [tmp_path / "imagesTr" / f"phantom_000{n}_0000.nii.gz" for n in range(3)]


def test_running_again_draws_only_what_is_missing(cohort: Path) -> None:
    before = contents(cohort)
    kept, lost = (cohort / "labelsTr" / f"phantom_000{n}.nii.gz" for n in (0, 2))
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    progress: list[tuple[int, int]] = []
    make_phantoms(cohort, OPTIONS, cases=3, on_progress=lambda done, total: progress.append((done, total)))
    assert progress == [(2, 3), (3, 3)]
    assert contents(cohort) == before
    assert kept.stat().st_mtime_ns == stamp


def test_another_cohort_is_refused(cohort: Path) -> None:
    before = contents(cohort)
    with pytest.raises(DataError, match="holds phantoms with seed 7, asked for 8; name another folder"):
        make_phantoms(cohort, replace(OPTIONS, seed=8), cases=3)
    with pytest.raises(DataError, match=r"with shape \[32, 32, 32\], asked for \[32, 32, 40\]"):
        make_phantoms(cohort, replace(OPTIONS, shape=(32, 32, 40)), cases=3)
    with pytest.raises(DataError, match=r"already holds 3 phantoms, asked for 2; .* ask for 3 or more"):
        make_phantoms(cohort, OPTIONS, cases=2)
    assert contents(cohort) == before


def test_foreign_folders_and_impossible_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds 'notes.txt' and no phantom.json.*name a new or empty folder"):
        make_phantoms(tmp_path, OPTIONS, cases=1)
    with pytest.raises(DataError, match="cannot be used as a folder"):
        make_phantoms(tmp_path / "notes.txt", OPTIONS, cases=1)
    with pytest.raises(DataError, match="cases must be at least 1, got 0"):
        make_phantoms(tmp_path / "new", OPTIONS, cases=0)
    with pytest.raises(DataError, match="workers must be at least 1, got -2"):
        make_phantoms(tmp_path / "new", OPTIONS, cases=1, workers=-2)
    assert not (tmp_path / "new").exists()
    (tmp_path / "phantom.json").write_text("{")
    with pytest.raises(DataError, match=r"phantom.json: unreadable .*; name another folder"):
        make_phantoms(tmp_path, OPTIONS, cases=1)


def test_targets_follow_the_plan(cohort: Path, tmp_path: Path) -> None:
    with (cohort / "targets.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    plans = [draw_phantom(number, OPTIONS).plan for number in range(3)]
    assert [(row["case"], row["site"], row["phase"]) for row in rows] == [
        (f"phantom_000{n}", "none" if plan.disease == "healthy" else plan.disease, plan.phase)
        for n, plan in enumerate(plans)
    ]
    assert {row["disease"] for row in rows if row["site"] != "none"} == {"yes"}
    make_phantoms(tmp_path / "healthy", replace(OPTIONS, lesions=False), cases=1)
    assert (tmp_path / "healthy" / "targets.csv").read_text().splitlines()[1].split(",")[1:3] == [
        "no",
        "none",
    ]
