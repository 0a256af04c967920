"""Many scans: names, what is done, what cannot be done, and what the summary says."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from torch import nn

from mim3d import cli
from mim3d.config import FinetuneConfig
from mim3d.config_file import write_config
from mim3d.data.volume import canonical, read_volume, write_nifti
from mim3d.downstream.segmenter import Segmenter
from mim3d.errors import DataError, ScansFailed
from mim3d.inference import segmentation
from mim3d.recipes.predict import predict
from mim3d.train.checkpoint import save_weights

AFFINE = np.diag([-3.0, 3.0, 3.0, 1.0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, finetuning: FinetuneConfig) -> Path:
    """A fine-tuned run of nothing: random weights that find something of everything."""
    folder = tmp_path_factory.mktemp("run")
    network = Segmenter(finetuning)
    nn.init.zeros_(network.head.bias)
    write_config(finetuning, folder / "config.json")
    save_weights(network, folder / "weights.safetensors")
    said = {"modality": "CT", "window": {"low": -1000, "high": 1000}, "spacing": None}
    (folder / "preprocessing.json").write_text(json.dumps(said))
    return folder


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two scans and a broken one, at different depths."""
    random = np.random.default_rng(0)
    for name in ("a.nii.gz", "deeper/b.nii"):
        hu = random.integers(-1000, 1000, (18, 12, 14)).astype(np.int16)
        write_nifti(tmp_path / "scans" / name, hu, AFFINE)
    (tmp_path / "scans" / "broken.nii").write_text("no scan")
    return tmp_path / "scans"


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_one_broken_scan_does_not_end_the_batch(
    run: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["predict", str(run), str(scans), str(out)]) == 1
    said = capsys.readouterr().err
    assert "broken: failed: " in said
    assert "out: 1 of 3 scans could not be predicted, the first broken: the scan: not" in said
    assert [(row["case"], row["status"]) for row in rows(out)] == [
        ("a", "done"),
        ("broken", "failed"),
        ("deeper/b", "done"),
    ]
    assert rows(out)[1]["reason"].startswith("the scan: not a readable NIfTI file")
    assert all("Not for clinical use" in row["notice"] for row in rows(out))
    assert float(rows(out)[0]["liver ml"]) > 0
    assert read_volume(out / "deeper" / "b.nii.gz").shape == (18, 12, 14)
    assert sorted(files(out)) == ["a.json", "a.nii.gz", "deeper/b.json", "deeper/b.nii.gz", "summary.csv"]


def test_the_same_command_again_does_what_is_left(run: Path, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ScansFailed):
        predict(run, scans, out)
    whole = files(out)
    (out / "a.nii.gz").unlink()
    made = (out / "deeper" / "b.nii.gz").stat()
    with pytest.raises(ScansFailed):
        predict(run, scans, out)
    assert files(out) == whole
    assert (out / "deeper" / "b.nii.gz").stat() == made


def test_ended_anywhere_it_goes_on_to_the_same_end(
    run: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scans / "broken.nii").unlink()
    predict(run, scans, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(segmentation, "write_labels", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict(run, scans, tmp_path / "out")
    assert sorted(files(tmp_path / "out")) == ["a.json"]
    assert predict(run, scans, tmp_path / "out").keys() == {"a", "deeper/b"}
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_refuses_to_mix_predictions(
    run: Path,
    scans: Path,
    tmp_path: Path,
    failing: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (scans / "broken.nii").unlink()
    predict(run, scans, tmp_path / "out")
    capsys.readouterr()
    said = failing("predict", run, scans, tmp_path / "out", "--overlap", 0.25)
    assert said == (
        f"{tmp_path / 'out' / 'a.nii.gz'}, and 1 more: there already, made with other overlap; add "
        "--overwrite, or name another place"
    )
    predict(run, scans, tmp_path / "out", overlap=0.25, overwrite=True)


def test_a_scan_that_changed_is_predicted_again_if_asked(run: Path, scans: Path, tmp_path: Path) -> None:
    (scans / "broken.nii").unlink()
    predict(run, scans, tmp_path / "out")
    before, made = files(tmp_path / "out"), (tmp_path / "out" / "a.nii.gz").stat()
    changed = read_volume(scans / "deeper" / "b.nii").array[::-1]
    write_nifti(scans / "deeper" / "b.nii", changed, AFFINE)
    with pytest.raises(DataError, match=r"b.nii.gz: there already, made of another scan"):
        predict(run, scans, tmp_path / "out")
    assert files(tmp_path / "out") == before
    predict(run, scans, tmp_path / "out", overwrite=True)
    assert files(tmp_path / "out")["deeper/b.nii.gz"] != before["deeper/b.nii.gz"]
    assert (tmp_path / "out" / "a.nii.gz").stat() == made


def test_a_scan_that_cannot_be_read_fails_alone_and_what_was_found_in_it_stays(
    run: Path, scans: Path, tmp_path: Path
) -> None:
    listing, out = scans / "list.csv", tmp_path / "out"
    listing.write_text("image,case\na.nii.gz,one\ndeeper/b.nii,two\n")
    predict(run, listing, out)
    before = files(out)
    (scans / "a.nii.gz").unlink()
    os.mkfifo(scans / "a.nii.gz")  # what opens it waits for ever
    (out / "two.nii.gz").unlink()
    with pytest.raises(ScansFailed, match="1 of 2 scans could not be predicted, the first one: "):
        predict(run, listing, out)
    assert {**files(out), "summary.csv": b""} == {**before, "summary.csv": b""}
    assert [row["status"] for row in rows(out)] == ["failed", "done"]


def test_a_listed_scan_that_is_not_there_fails_alone(run: Path, scans: Path, tmp_path: Path) -> None:
    listing = scans / "list.csv"
    listing.write_text("image\ngone.nii\na.nii.gz\n")
    with pytest.raises(ScansFailed, match="could not be predicted, the first gone: the scan: no such file"):
        predict(run, listing, tmp_path / "out")
    assert [(row["case"], row["status"]) for row in rows(tmp_path / "out")] == [
        ("a", "done"),
        ("gone", "failed"),
    ]


@pytest.fixture
def series(tmp_path: Path, write_series: Callable[..., object]) -> Path:
    """A folder with one DICOM series."""
    uids = {"StudyInstanceUID": "1.2", "FrameOfReferenceUID": "1.2.77", "PatientName": "Doe^Jane"}
    write_series(tmp_path / "scans" / "one", **uids)
    return tmp_path / "scans"


def test_a_seg_that_is_wanted_later_is_made_of_the_label_maps_that_are_there(
    run: Path, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(run, series, tmp_path / "once", dicom_seg=True)
    found = predict(run, series, tmp_path / "out")
    monkeypatch.setattr(segmentation, "segment", interrupted)
    later = predict(run, series, tmp_path / "out", dicom_seg=True)
    assert later["series_0001"] == pytest.approx(found["series_0001"], abs=1e-4)
    segs = [pydicom.dcmread(tmp_path / name / "series_0001.seg.dcm") for name in ("once", "out")]
    assert [one.SegmentLabel for one in segs[1].SegmentSequence] == ["liver", "lungs"]
    assert segs[0].PixelData == segs[1].PixelData
    assert len(segs[1].PerFrameFunctionalGroupsSequence) > 1
    predict(run, series, tmp_path / "out", dicom_seg=True)  # done: nothing is made again
    assert pydicom.dcmread(tmp_path / "out" / "series_0001.seg.dcm") == segs[1]


def test_a_seg_that_cannot_be_written_leaves_the_label_map(
    run: Path, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise DataError("the scan: no FrameOfReferenceUID")

    with monkeypatch.context() as patch:
        patch.setattr(segmentation, "write_seg", refused)
        with pytest.raises(ScansFailed, match="the first series_0001: the scan: no FrameOfReferenceUID"):
            predict(run, series, tmp_path / "out", dicom_seg=True)
    assert predict(run, series, tmp_path / "out").keys() == {"series_0001"}
    assert (tmp_path / "out" / "series_0001.nii.gz").exists()


def test_a_seg_is_made_of_corrected_label_maps_or_says_why_not(
    run: Path, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(run, series, tmp_path / "out")
    labels = tmp_path / "out" / "series_0001.nii.gz"
    monkeypatch.setattr(segmentation, "segment", interrupted)
    affine = canonical(read_volume(labels)).affine  # another program may turn the axes
    corrected = np.zeros((4, 3, 4), np.uint8)
    corrected[0, 0, 0] = 1  # left, posterior, lowest
    for wrong, said in (
        (corrected[1:], r"the label map has \(3, 3, 4\) voxels, its scan \(4, 3, 4\)"),
        (corrected + 7, "the label map holds the values 7, 8"),
    ):
        write_nifti(labels, wrong, affine)
        with pytest.raises(ScansFailed, match=said + ".*; or delete it, to predict anew"):
            predict(run, series, tmp_path / "out", dicom_seg=True)
    write_nifti(labels, corrected, affine)
    before = labels.read_bytes()
    predict(run, series, tmp_path / "out", dicom_seg=True)
    assert labels.read_bytes() == before
    seg = pydicom.dcmread(tmp_path / "out" / "series_0001.seg.dcm")
    (frame,) = seg.PerFrameFunctionalGroupsSequence
    assert frame.PlanePositionSequence[0].ImagePositionPatient == [-10.0, -20.0, 0.0]
    assert np.argwhere(seg.pixel_array).tolist() == [[2, 3]]  # row and column


def test_many_scans_need_a_folder(run: Path, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all.nii: a folder is needed, 3 scans are to be predicted"):
        predict(run, scans, tmp_path / "all.nii")


def test_a_scan_of_another_kind_is_on_record(run: Path, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "scans" / "list.csv").write_text(
        "image,case,modality\na.nii.gz,one,MR\ndeeper/b.nii,two,CT\n"
    )
    with pytest.raises(
        ScansFailed, match="1 of 2 scans could not be predicted, the first one: modality is MR"
    ):
        predict(run, scans / "list.csv", tmp_path / "out")
    assert [(row["case"], row["status"]) for row in rows(tmp_path / "out")] == [
        ("one", "failed"),
        ("two", "done"),
    ]
