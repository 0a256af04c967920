"""Cases of several channels: from several files or one, on one grid, each in its own steps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from pyarrow import parquet

from mim3d.data.case_channels import channels_of_text
from mim3d.data.catalog import Catalog, read_index
from mim3d.data.overlap import with_hashes
from mim3d.data.prepare import Prepared, prepare_store
from mim3d.data.store import open_store, rebuild_catalog
from mim3d.data.verify import verify_store
from mim3d.data.volume import write_nifti
from mim3d.errors import ConfigError, DataError
from mim3d.geometry import Box

SHAPE = (10, 12, 8)
BOX = Box((0, 0, 0), SHAPE)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def t1(seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(0, 900, SHAPE).astype(np.int16)


def t2() -> NDArray[np.float32]:
    return np.random.default_rng(9).random(SHAPE, np.float32) * 3


def listed(raw: Path, *rows: str) -> Path:
    raw.mkdir(exist_ok=True)
    (raw / "cases.csv").write_text("\n".join(["case,image,modality,channel", *rows]) + "\n")
    return raw


def run(raw: Path, store: Path, **options: object) -> Prepared:
    return prepare_store(raw, store, **{"spacing": "native", "workers": 1, **options})  # type: ignore[arg-type]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two files of one case."""
    write_nifti(tmp_path / "raw" / "t1.nii", t1(), AFFINE)
    write_nifti(tmp_path / "raw" / "t2.nii", t2(), AFFINE)
    return listed(tmp_path / "raw", "a,t1.nii;t2.nii,MR,")


def test_several_files_are_channels_of_one_case(raw: Path, tmp_path: Path) -> None:
    (case,) = run(raw, tmp_path / "store").catalog.cases
    assert (case.modality, case.shape, case.slope) == ("MR", SHAPE, 1.0)
    one, two = channels_of_text(case.channels)
    assert one.statistics == case.statistics
    assert two.slope == pytest.approx(3 / 32767, rel=1.0)
    assert two.statistics["maximum"] == pytest.approx(3, abs=0.1)
    store = open_store(tmp_path / "store")
    assert read_index(tmp_path / "store") == rebuild_catalog(tmp_path / "store") == store.catalog
    seen = store.read("a", BOX, SHAPE)
    assert seen.shape == (2, *SHAPE)
    np.testing.assert_array_equal(seen[0], t1())
    np.testing.assert_allclose(seen[1], t2(), atol=two.slope)
    outside = store.read("a", Box((-4, 0, 0), (4, 12, 8)), (4, 12, 8))
    assert not outside.any()


def test_channels_are_an_axis_of_the_image(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "store", spacing=(4.0, 4.0, 4.0), keep_native=True)
    folder = tmp_path / "store" / "cases" / "a.ome.zarr"
    group = zarr.open_group(folder, mode="r")
    assert group["0"].shape == (2, 6, 6, 5)  # type: ignore[union-attr]
    assert group["native/0"].shape == (2, 8, 12, 10)  # type: ignore[union-attr]
    multiscales = json.loads((folder / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    assert [axis["name"] for axis in multiscales["axes"]] == ["c", "z", "y", "x"]
    scale, translation = multiscales["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"], translation["translation"]) == ([1, 4, 4, 4], [0, 0, 0, 0])
    fine = open_store(tmp_path / "store").read("a", Box((0, 0, 0), (5, 6, 6)), SHAPE)
    np.testing.assert_array_equal(fine[0], t1())


def test_a_store_of_several_channels_is_what_was_written_and_recognised(raw: Path, tmp_path: Path) -> None:
    (case,) = run(raw, tmp_path / "store").catalog.cases
    assert verify_store(tmp_path / "store", workers=1).damage == ()
    store = open_store(tmp_path / "store")
    unknown = replace(store, catalog=Catalog((replace(case, perceptual_hash=""),)))
    assert with_hashes(unknown, workers=1).hashes == [case.perceptual_hash]
    shard = tmp_path / "store" / "cases" / "a.ome.zarr" / "0" / "c" / "0" / "0" / "0" / "0"
    flipped = bytearray(shard.read_bytes())
    flipped[40] ^= 1
    shard.write_bytes(flipped)
    assert verify_store(tmp_path / "store", workers=1).damage != ()


def test_half_scales_are_made_channel_by_channel(tmp_path: Path) -> None:
    ramp = np.add.outer(np.add.outer(np.arange(36), np.arange(34)), np.arange(32)).astype(np.int16)
    for number in (1, 2):
        write_nifti(tmp_path / "raw" / f"{number}.nii", ramp * np.int16(number), np.eye(4))
    listed(tmp_path / "raw", "a,1.nii;2.nii,MR,")
    (case,) = run(tmp_path / "raw", tmp_path / "store").catalog.cases
    assert case.scales == 2
    half = open_store(tmp_path / "store").read("a", Box((0, 0, 0), (36, 34, 32)), (18, 17, 16))
    np.testing.assert_allclose(half[0], 1.5 + ramp[::2, ::2, ::2], atol=0.51)
    np.testing.assert_allclose(half[1], 3 + 2 * ramp[::2, ::2, ::2], atol=0.51)


def test_all_channels_of_one_file(tmp_path: Path) -> None:
    write_nifti(tmp_path / "raw" / "a.nii.gz", np.stack([t1(0), t1(1), t1(2)], axis=-1), AFFINE)
    (case,) = run(tmp_path / "raw", tmp_path / "store", channel="all", modality="MRI").catalog.cases
    assert (case.modality, case.note) == ("MR", "")
    seen = open_store(tmp_path / "store").read(case.case, BOX, SHAPE)
    for number in range(3):
        np.testing.assert_array_equal(seen[number], t1(number))


def test_nnunets_channels(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_nifti(raw / "imagesTr" / "p_0000.nii.gz", t1(), AFFINE)
    write_nifti(raw / "imagesTr" / "p_0001.nii.gz", t2(), AFFINE)
    (raw / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT", "1": "PET"}, "labels": {}}))
    (case,) = run(raw, tmp_path / "store").catalog.cases
    assert (case.case, case.modality, case.padding) == ("p", "CT+PT", -1024.0)
    assert [(one.name, one.modality, one.padding) for one in channels_of_text(case.channels)] == [
        ("CT", "CT", -1024.0),
        ("PET", "PT", 0.0),
    ]
    (case,) = run(raw, tmp_path / "second", channel=1).catalog.cases
    assert (case.modality, case.channels, case.padding) == ("PT", "", 0.0)
    (raw / "imagesTr" / "p_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"states 2 channels, but there is no p_0001\.nii\.gz; add it"):
        run(raw, tmp_path / "third")


def test_the_decathlons_channels(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for name, count in (("a", 2), ("b", 3)):
        write_nifti(raw / "imagesTr" / f"{name}.nii", np.stack([t1()] * count, axis=-1), AFFINE)
    training = [{"image": f"./imagesTr/{name}.nii"} for name in "ab"]
    content = {"modality": {"0": "FLAIR", "1": "T1w"}, "training": training}
    (raw / "dataset.json").write_text(json.dumps(content))
    found = run(raw, tmp_path / "store")
    (case,) = found.catalog.cases
    assert [one.name for one in channels_of_text(case.channels)] == ["FLAIR", "T1w"]
    chosen = {one.case: one for one in run(raw, tmp_path / "second", channel=1).catalog.cases}
    assert [chosen[name].note for name in "ab"] == [f"channel 1 of {n}, counted from 0" for n in (2, 3)]
    assert (chosen["a"].modality, chosen["a"].channels) == ("MR", "")
    assert "the scan: 3 channels, but 2 are stated for it; both must agree" in found.rejected[0].reason


def test_one_modality_of_a_data_set(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_nifti(raw / "imagesTr" / "p_0000.nii.gz", t1(), AFFINE)
    (raw / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1"}, "labels": {}}))
    (case,) = run(raw, tmp_path / "store").catalog.cases
    assert (case.modality, case.padding, case.channels) == ("MR", 0.0, "")
    (raw / "dataset.json").write_text(json.dumps({"modality": "CT", "labels": {}}))
    (case,) = run(raw, tmp_path / "second").catalog.cases
    assert (case.modality, case.padding) == ("CT", -1024.0)


def test_channels_must_lie_on_one_grid(raw: Path, tmp_path: Path) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] = 1.0
    write_nifti(raw / "shifted.nii", t1(), shifted)
    write_nifti(raw / "flat.nii", np.zeros(SHAPE, np.int16), AFFINE)
    listed(raw, "a,t1.nii;t2.nii,MR,", "b,t1.nii;shifted.nii,MR,", "c,t1.nii;flat.nii,MR,")
    reasons = sorted(scan.reason for scan in run(raw, tmp_path / "store").rejected)
    assert reasons[0].startswith("channel 1: all voxels have the same intensity")
    assert reasons[1].startswith("channel 1: the channel lies up to 1.00 mm off its scan")


def test_a_changed_channel_is_noticed(raw: Path, tmp_path: Path) -> None:
    assert run(raw, tmp_path / "store").made == 1
    assert run(raw, tmp_path / "store").made == 0
    write_nifti(raw / "t2.nii", t1(5)[..., None], AFFINE)
    assert run(raw, tmp_path / "store").made == 1
    listed(raw, "a,t1.nii;t2.nii,MR;PT,")
    assert run(raw, tmp_path / "store").made == 1


def test_a_store_from_before_channels_is_read_the_same(tmp_path: Path) -> None:
    write_nifti(tmp_path / "raw" / "a.nii", t1() - np.int16(500), AFFINE)
    listed(tmp_path / "raw", "a,a.nii,,")
    (case,) = run(tmp_path / "raw", tmp_path / "store").catalog.cases
    index = parquet.read_table(tmp_path / "store" / "index.parquet")
    without = index.drop_columns(["channels"]).replace_schema_metadata(None)  # nor had it a seal
    parquet.write_table(without, tmp_path / "store" / "index.parquet")
    file = tmp_path / "store" / "cases" / "a.ome.zarr" / "zarr.json"
    attributes = json.loads(file.read_text())
    del attributes["attributes"]["mim3d"]["channels"], attributes["attributes"]["mim3d-seal"]
    file.write_text(json.dumps(attributes))
    before = open_store(tmp_path / "store")
    assert before.catalog.cases == rebuild_catalog(tmp_path / "store").cases == (case,)
    np.testing.assert_array_equal(before.read("a", BOX, SHAPE), (t1() - np.int16(500))[None])


def test_lists_that_cannot_be(raw: Path, tmp_path: Path) -> None:
    listed(raw, "a,t1.nii;gone.nii,MR,")
    with pytest.raises(DataError, match=r"none of its 1 scans could be used; the first: the scan: no such"):
        run(raw, tmp_path / "store")
    listed(raw, "a,t1.nii;t2.nii;t1.nii,MR;CT,")
    with pytest.raises(DataError, match=r"row 1: 2 modalities for 3 images; one for all, or one each"):
        run(raw, tmp_path / "store")
    listed(raw, "a,t1.nii,m r,")
    with pytest.raises(
        DataError, match=r"row 1: modality must be as DICOM names it, CT, MR, PT, .*, OT, got 'm r'"
    ):
        run(raw, tmp_path / "store")
    listed(raw, "a,t1.nii;t2.nii,MR,")
    with pytest.raises(ConfigError, match=r"modality must be as DICOM names it"):
        run(raw, tmp_path / "store", modality="CTA")
    with pytest.raises(DataError, match=r"channel 2 is asked, but a case has 2; 0 to 1 are there"):
        run(raw, tmp_path / "store", channel=2)
