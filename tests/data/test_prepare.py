"""Preparation: whole cases or none, the same store however often interrupted, and nobody's name in it."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.data.catalog import read_rejected
from mim3d.data.prepare import Prepared, State, prepare_store
from mim3d.data.splits import Shares
from mim3d.data.store import open_store, rebuild_catalog
from mim3d.data.verify import verify_store
from mim3d.data.volume import write_nifti
from mim3d.errors import DataError
from mim3d.geometry import Box

SHAPE = (20, 24, 12)
SPACING = (2.0, 2.0, 3.0)


def rows_of(raw: Path) -> list[dict[str, str]]:
    with (raw / "cases.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def run(raw: Path, store: Path, **options: Any) -> Prepared:
    return prepare_store(raw, store, **{"spacing": (3.0, 3.0, 3.0), "workers": 1, **options})


def files_of(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_scans_become_cases(raw: Path, tmp_path: Path) -> None:
    progress: list[State] = []
    found = run(raw, tmp_path / "store", on_progress=progress.append)
    assert (found.made, found.kept, found.rejected) == (5, 0, ())
    assert [state[:4] for state in progress] == [(done, 5, 0, 0) for done in range(6)]
    assert [state.size for state in progress][::5] == [
        0,
        sum(path.stat().st_size for path in raw.glob("*.nii")),
    ]
    assert found.size == sum(len(data) for data in files_of(tmp_path / "store").values())
    store = open_store(tmp_path / "store")
    assert store.catalog == found.catalog == rebuild_catalog(tmp_path / "store")
    assert [case.case for case in store.catalog.cases] == [f"case{number}" for number in range(5)]
    assert sorted(case.split for case in store.catalog.cases) == ["train"] * 4 + ["val"]
    case = store.catalog.by_name["case0"]
    assert (case.shape, case.spacing, case.source_spacing) == ((13, 16, 12), (3.0, 3.0, 3.0), SPACING)
    assert case.labels == {"organs": (1, 300)}
    expected = [[3.0, 0.0, 0.0, -7.5], [0.0, 3.0, 0.0, -9.5], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]]
    np.testing.assert_allclose(store.attributes("case0")["affine"], expected)


def test_a_store_may_be_named_from_beside_it(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(raw)
    store = Path("..", "store")
    assert run(Path(), store).made == 5
    assert verify_store(store, 1).damage == ()


def test_native_spacing_keeps_voxels_as_they_are(
    raw: Path,
    tmp_path: Path,
    scan: Callable[[int], NDArray[np.int16]],
    labels: Callable[[int], NDArray[np.int16]],
) -> None:
    run(raw, tmp_path / "store", spacing="native")
    store = open_store(tmp_path / "store")
    assert store.spacing is None
    assert store.catalog.cases[0].spacing == SPACING
    box = Box((0, 0, 0), SHAPE)
    np.testing.assert_array_equal(store.read("case0", box, SHAPE)[0], scan(0)[::-1])
    np.testing.assert_array_equal(store.read_labels("case0", "organs", box, SHAPE), labels(0)[::-1])


def test_the_finer_original_is_kept_beside(
    raw: Path, tmp_path: Path, scan: Callable[[int], NDArray[np.int16]]
) -> None:
    run(raw, tmp_path / "store", keep_native=True)
    store = open_store(tmp_path / "store")
    assert store.catalog.cases[0].native == SPACING
    fine = store.read("case0", Box((0, 0, 0), (8, 8, 12)), (12, 12, 12))[0]
    np.testing.assert_array_equal(fine, scan(0)[::-1][:12, :12])


def test_again_makes_only_what_is_missing(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(raw, store)
    before = files_of(store)
    times = {path: path.stat().st_mtime_ns for path in (store / "cases" / "case1.ome.zarr").rglob("*")}
    shutil.rmtree(store / "cases" / "case3.ome.zarr")
    (store / "cases" / "case4.ome.zarr" / "zarr.json").write_text("{")
    (store / ".partial" / "case3-1").mkdir(parents=True)
    found = run(raw, store)
    assert (found.made, found.kept) == (2, 3)
    assert files_of(store) == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_changed_scan_is_made_anew(
    raw: Path, tmp_path: Path, scan: Callable[[int], NDArray[np.int16]], affine: NDArray[np.float64]
) -> None:
    before = run(raw, tmp_path / "store").catalog
    write_nifti(raw / "scan2.nii", scan(77), affine)
    os.utime(raw / "scan2.nii", ns=(1, 1))
    found = run(raw, tmp_path / "store")
    assert (found.made, found.kept) == (1, 4)
    assert found.catalog.by_name["case2"].hash != before.by_name["case2"].hash
    assert found.catalog.by_name["case2"].split == before.by_name["case2"].split


def test_parts_and_workers_give_the_same_store(
    raw: Path, tmp_path: Path, write_rows: Callable[[Path, list[dict[str, str]]], Path]
) -> None:
    rows = [{**row, "split": "val" if number == 2 else "train"} for number, row in enumerate(rows_of(raw))]
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    write_rows(raw, rows[3:])
    run(raw, parts)
    shutil.copytree(tmp_path / "parts.private", tmp_path / "whole.private")
    write_rows(raw, rows)
    run(raw, parts)
    run(raw, whole, workers=2)
    assert files_of(parts) == files_of(whole)


def test_nobodys_name_is_in_the_store(
    raw: Path, tmp_path: Path, write_rows: Callable[[Path, list[dict[str, str]]], Path]
) -> None:
    (raw / "scan1.nii").write_bytes(b"broken")
    rows = [{key: value for key, value in row.items() if key != "case"} for row in rows_of(raw)]
    write_rows(raw, rows)
    found = run(raw, tmp_path / "store")
    assert (found.made, len(found.rejected)) == (4, 1)
    shown = b"".join(files_of(tmp_path / "store").values()) + repr(found).encode()
    for word in ("scan1.nii", "label1", "Jane", "Doe", str(tmp_path)):
        assert word.encode() not in shown
    row = f"{found.rejected[0].key},{raw / 'scan1.nii'},{raw / 'label1.nii'},Jane Doe 1"
    assert row in (tmp_path / "store.private" / "sources.csv").read_text()


def test_a_broken_scan_is_on_record_and_others_proceed(
    raw: Path,
    tmp_path: Path,
    scan: Callable[[int], NDArray[np.int16]],
    labels: Callable[[int], NDArray[np.int16]],
    affine: NDArray[np.float64],
) -> None:
    shifted = affine.copy()
    shifted[0, 3] += 1.0
    (raw / "scan1.nii").write_bytes(b"broken")
    write_nifti(raw / "scan2.nii", scan(2)[:10], affine)
    write_nifti(raw / "label3.nii", labels(3), shifted)
    write_nifti(raw / "label4.nii", labels(4) + np.int16(1), affine)
    found = run(raw, tmp_path / "store")
    assert [case.case for case in found.catalog.cases] == ["case0"]
    assert found.rejected == read_rejected(tmp_path / "store")
    reasons = " | ".join(sorted(scan.reason for scan in found.rejected))
    assert "the scan: not a readable NIfTI file" in reasons
    for part in ("both must lie on one grid", "up to 1.00 mm off its scan", "holds the values 2, 301, which"):
        assert part in reasons
    for number in (1, 2, 3, 4):
        write_nifti(raw / f"scan{number}.nii", scan(number), affine)
        write_nifti(raw / f"label{number}.nii", labels(number), affine)
    assert run(raw, tmp_path / "store").made == 4
    assert read_rejected(tmp_path / "store") == ()


def test_a_second_data_set_is_added(
    raw: Path, tmp_path: Path, scan: Callable[[int], NDArray[np.int16]], affine: NDArray[np.float64]
) -> None:
    run(raw, tmp_path / "store")
    other = tmp_path / "other"
    write_nifti(other / "a.nii.gz", scan(50), affine)
    write_nifti(other / "deep" / "b.nii.gz", scan(51), affine)
    found = run(other, tmp_path / "store")
    assert (found.made, len(found.catalog.cases)) == (2, 7)
    assert all(len(case.case) == 16 for case in found.catalog.cases if not case.labels)
    third = tmp_path / "third"
    write_nifti(third / "a.nii.gz", scan(52), affine)
    os.utime(third / "a.nii.gz", ns=(1, 1))
    assert len(run(third, tmp_path / "store").catalog.cases) == 8
    assert run(third, tmp_path / "store").made == 0


def test_only_annotated_structures_are_listed(
    raw: Path, tmp_path: Path, write_rows: Callable[[Path, list[dict[str, str]]], Path]
) -> None:
    write_rows(raw, [{**rows_of(raw)[0], "annotated": "spleen"}])
    assert run(raw, tmp_path / "store").catalog.cases[0].labels == {"organs": (300,)}


def test_blocks_of_one_patient_are_marked(
    raw: Path, tmp_path: Path, write_rows: Callable[[Path, list[dict[str, str]]], Path]
) -> None:
    rows = [
        {**row, "patient": "same", "split": split, "note": "block of one patient: 1"}
        for row, split in zip(rows_of(raw), ("train", "train", "val", "test", "test"), strict=True)
    ]
    write_rows(raw, rows)
    found = run(raw, tmp_path / "store").catalog
    assert all(case.block for case in found.cases)
    assert [case.split for case in found.cases] == ["train", "train", "val", "test", "test"]
    assert len({case.patient for case in found.cases}) == 1
    write_rows(raw, [{**row, "note": ""} for row in rows])
    with pytest.raises(DataError, match="case case2 is in split val, but case case0 of the same patient"):
        run(raw, tmp_path / "fresh")


def test_shares_are_taken(raw: Path, tmp_path: Path) -> None:
    found = run(raw, tmp_path / "store", shares=Shares(0.2, 0.4)).catalog
    assert sorted(case.split for case in found.cases) == ["test", "test", "train", "train", "val"]


def test_whoever_watches_may_end_it(raw: Path, tmp_path: Path) -> None:
    def enough(state: State) -> None:
        if state.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(raw, tmp_path / "store", on_progress=enough)
    assert not (tmp_path / "store" / ".partial").exists()
    assert run(raw, tmp_path / "store").kept == 2


def test_what_was_left_half_written_is_removed(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(raw, store)
    before = files_of(store)
    (store / ".99-index.parquet").write_text("half")
    (tmp_path / "store.private" / ".99-sources.csv").write_text("half")
    (store / ".partial" / "case0-1").mkdir(parents=True)
    run(raw, store)
    assert files_of(store) == before
    assert not (store / ".partial").exists()
    assert sorted(files_of(tmp_path / "store.private")) == ["key", "lock", "sources.csv"]
