"""Scans of every kind into a store: what was decided stands in the catalog, what cannot be is rejected."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.data.prepare import Prepared, prepare_store
from mim3d.data.store import open_store
from mim3d.data.volume import write_nifti
from mim3d.errors import ConfigError, DataError
from mim3d.geometry import Box

SHAPE = (10, 12, 8)
BOX = Box((0, 0, 0), SHAPE)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def scan(seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE).astype(np.int16)


def listed(raw: Path, header: str, *rows: str) -> Path:
    raw.mkdir(exist_ok=True)
    (raw / "cases.csv").write_text("\n".join([header, *rows]) + "\n")
    (raw / "label_sets.json").write_text(json.dumps({"organs": {"structures": {"liver": 1, "spleen": 2}}}))
    return raw


def run(raw: Path, store: Path, channel: int | None = None) -> Prepared:
    return prepare_store(raw, store, spacing="native", workers=1, channel=channel)


def test_a_channel_is_chosen_by_the_flag_or_the_list(tmp_path: Path) -> None:
    raw = listed(tmp_path / "raw", "case,image,channel", "a,a.nii,", "b,a.nii,0")
    write_nifti(raw / "a.nii", np.stack([scan(0), scan(1)], axis=-1), AFFINE)
    found = run(raw, tmp_path / "store", channel=1)
    assert [case.note for case in found.catalog.cases] == [
        f"channel {channel} of 2, counted from 0" for channel in (1, 0)
    ]
    store = open_store(tmp_path / "store")
    np.testing.assert_array_equal(store.read("a", BOX, SHAPE)[0], scan(1))
    np.testing.assert_array_equal(store.read("b", BOX, SHAPE)[0], scan(0))
    assert run(raw, tmp_path / "store", channel=1).made == 0
    assert run(raw, tmp_path / "store", channel=0).made == 1  # of a; b names its own


def test_a_channel_must_be_chosen(tmp_path: Path) -> None:
    raw = listed(tmp_path / "raw", "case,image", "a,a.nii")
    write_nifti(raw / "a.nii", np.stack([scan(0), scan(1)], axis=-1), AFFINE)
    with pytest.raises(
        DataError,
        match=r"choose it with `mim3d prepare --channel N`, or in a CSV.s column `channel`, N from 0 to 1",
    ):
        run(raw, tmp_path / "store")
    with pytest.raises(DataError, match=r"channel 2 is asked, but there are 2"):
        run(raw, tmp_path / "store", channel=2)
    with pytest.raises(ConfigError, match=r"channel must be 0 or more, or all, got -1"):
        run(raw, tmp_path / "store", channel=-1)
    listed(raw, "case,image,channel", "a,a.nii,first")
    with pytest.raises(DataError, match=r"cases\.csv, row 1: channel is 'first'; a number from 0"):
        run(raw, tmp_path / "store")


def test_what_was_decided_stands_in_the_catalog(tmp_path: Path) -> None:
    raw = listed(tmp_path / "raw", "case,image,note", "bare,bare.nii,from the ward", "tilted,tilted.nii,")
    image = nib.Nifti1Image(scan(), None)
    image.header.set_zooms((2.0, 2.0, 3.0))
    nib.save(image, raw / "bare.nii")
    sheared = AFFINE.copy()
    sheared[1, 2] = 1.0
    write_nifti(raw / "tilted.nii", scan(), sheared)
    bare, tilted = run(raw, tmp_path / "store").catalog.cases
    assert bare.note.startswith(
        "from the ward; its header states no orientation: axes taken as right, anterior"
    )
    assert bare.spacing == (2.0, 2.0, 3.0)
    assert tilted.note == "its axes are 18.4 degrees off right angles: resampled"
    assert (tilted.shape, tilted.spacing) == ((10, 16, 8), (2.0, 2.0, 3.0))
    affine = np.array(open_store(tmp_path / "store").attributes("tilted")["affine"])
    np.testing.assert_allclose(affine[:3, :3], np.diag([2.0, 2.0, 3.0]))


def test_labels_of_a_tilted_scan_follow_it(tmp_path: Path) -> None:
    raw = listed(tmp_path / "raw", "case,image,label,labels", "a,a.nii,b.nii,organs")
    sheared = AFFINE.copy()
    sheared[1, 2] = 1.0
    hu = np.full(SHAPE, -100, np.int16)
    hu[3:8, 3:9, 2:6] = 200
    write_nifti(raw / "a.nii", hu, sheared)
    write_nifti(raw / "b.nii", (hu > 0).astype(np.uint8) * 2, sheared)
    (case,) = run(raw, tmp_path / "store").catalog.cases
    store = open_store(tmp_path / "store")
    box = Box((0, 0, 0), case.shape)
    labels = store.read_labels("a", "organs", box, case.shape)
    image = store.read("a", box, case.shape)[0]
    assert set(np.unique(labels)) == {0, 2}
    assert np.count_nonzero(labels) == pytest.approx(5 * 6 * 4, rel=0.1)
    assert (image[labels == 2] > 0).all()


def test_label_maps_as_they_come(tmp_path: Path) -> None:
    rows = [f"{name},scan.nii,{name}.nii.gz,organs" for name in ("empty", "float", "odd", "shifted")]
    raw = listed(tmp_path / "raw", "case,image,label,labels", *rows)
    write_nifti(raw / "scan.nii", scan(), AFFINE)
    organs = (scan() > 0).astype(np.float32) * 2
    write_nifti(raw / "float.nii.gz", organs, AFFINE)
    write_nifti(raw / "empty.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE)
    write_nifti(raw / "odd.nii.gz", organs / 4, AFFINE)
    shifted = AFFINE.copy()
    shifted[0, 3] = 2.0
    write_nifti(raw / "shifted.nii.gz", organs, shifted)
    found = run(raw, tmp_path / "store")
    assert {case.case: case.note for case in found.catalog.cases} == {
        "empty": "no structure of organs occurs",
        "float": "",
    }
    reasons = " | ".join(scan.reason for scan in found.rejected)
    assert "the label map holds the values 0.5, which label set organs does not name" in reasons
    assert "the label map lies up to 2.00 mm off its scan" in reasons
    store = open_store(tmp_path / "store")
    np.testing.assert_array_equal(store.read_labels("float", "organs", BOX, SHAPE), organs)
    assert store.foreground("empty", "organs") == {}


def test_a_changed_data_file_is_noticed(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    nib.save(nib.Nifti1Pair(scan(), AFFINE), raw / "a.img")
    assert run(raw, tmp_path / "store").made == 1
    assert run(raw, tmp_path / "store").made == 0
    nib.save(nib.Nifti1Pair(scan(1), AFFINE), raw / "b.img")
    (raw / "b.img").rename(raw / "a.img")
    (raw / "b.hdr").unlink()
    assert run(raw, tmp_path / "store").made == 1
