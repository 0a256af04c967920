"""The same scan is found under another name, spacing and storage; other scans are not."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d import cli
from mim3d.data.catalog import Case, Catalog
from mim3d.data.overlap import hashed, twins_between, twins_within, with_hashes
from mim3d.data.perceptual import LENGTH, LIKELY, close_pairs, perceptual_hash, vectors
from mim3d.data.phantom_case import PhantomOptions, draw_phantom
from mim3d.data.prepare import Prepared, prepare_store
from mim3d.data.resample import to_spacing
from mim3d.data.seal import KEY
from mim3d.data.store import open_store
from mim3d.data.volume import Volume, write_nifti

OPTIONS = PhantomOptions(shape=(48, 44, 52), spacing=6.0)
AFFINE = np.diag([6.0, 6.0, 6.0, 1.0])


@pytest.fixture(scope="module")
def scans() -> list[NDArray[np.int16]]:
    return [np.asarray(draw_phantom(number, OPTIONS).hu, np.int16) for number in range(6)]


def hash_of(array: NDArray[Any], spacing: float = 6.0) -> str:
    return perceptual_hash(array, (spacing,) * 3)


def distance(one: str, other: str) -> float:
    first, second = vectors([one, other])
    return float(np.linalg.norm(first - second))


def test_another_spacing_cropping_and_padding_change_little(scans: list[NDArray[np.int16]]) -> None:
    for scan in scans:
        coarse = to_spacing(Volume(scan, AFFINE), (9.0, 9.0, 9.0)).array
        assert distance(hash_of(scan), hash_of(coarse, 9.0)) < LIKELY
        assert distance(hash_of(scan), hash_of(np.ascontiguousarray(scan[1:, :-1, 1:-1]))) < LIKELY
        padded = np.pad(scan, 5, constant_values=-1024)
        assert distance(hash_of(scan), hash_of(padded)) < LIKELY


def test_other_patients_and_other_blocks_are_others(scans: list[NDArray[np.int16]]) -> None:
    hashes = [hash_of(scan) for scan in scans]
    assert len(list(close_pairs(hashes, hashes))) == len(scans)
    for scan in scans:
        assert distance(hash_of(scan[:, :, :26]), hash_of(scan[:, :, 26:])) > 3 * LIKELY


def test_storage_does_not_matter(scans: list[NDArray[np.int16]]) -> None:
    scan = scans[0]
    assert hash_of(np.asfortranarray(scan)) == hash_of(scan)
    doubled, single = (perceptual_hash(one, (6.0,) * 3, "MR") for one in (scan * 2, scan))
    assert distance(doubled, single) < 0.01
    assert len(hash_of(scan)) == LENGTH


def test_scans_without_anything_have_a_hash() -> None:
    empty = np.full((5, 1, 9), -1024, np.int16)
    assert distance(hash_of(empty), hash_of(empty)) == 0


def test_pairs_are_those_of_a_plain_comparison() -> None:
    random = np.random.default_rng(0)
    base = random.integers(124, 131, (300, 70), dtype=np.uint8)
    base[:, 64:] = 5
    hashes = [row.tobytes().hex() for row in base]
    rows = vectors(hashes).astype(float)
    plain = {
        (i, j): np.linalg.norm(rows[i] - rows[j])
        for i in range(300)
        for j in range(100)
        if np.linalg.norm(rows[i] - rows[j]) < LIKELY
    }
    found = {(i, j): d for i, j, d in close_pairs(hashes, hashes[:100])}
    assert found.keys() == plain.keys()
    assert len(found) > 100
    assert all(abs(found[pair] - plain[pair]) < 1e-5 for pair in found)
    assert list(close_pairs([], hashes)) == []


def write(raw: Path, scans: dict[str, NDArray[Any]], *, spacing: float = 6.0) -> Path:
    raw.mkdir()
    for name, scan in scans.items():
        write_nifti(raw / f"{name}.nii.gz", scan, np.diag([spacing] * 3 + [1.0]))
    lines = [
        "case,image,split",
        *(f"{name},{name}.nii.gz,{'val' if name == 'c' else 'train'}" for name in scans),
    ]
    (raw / "cases.csv").write_text("\n".join(lines))
    return raw


def prepared(raw: Path, store: Path, spacing: float = 8.0) -> Prepared:
    return prepare_store(raw, store, spacing=(spacing,) * 3, workers=1)


@pytest.fixture
def twice(scans: list[NDArray[np.int16]], tmp_path: Path) -> Path:
    """A store in which `a` and `c` are one scan, cropped and as floats in the second."""
    again = scans[0][1:, 1:, :-1].astype(np.float32)
    prepared(write(tmp_path / "raw", {"a": scans[0], "b": scans[1], "c": again}), tmp_path / "store")
    return tmp_path / "store"


def test_twins_within_a_store(twice: Path) -> None:
    catalog = open_store(twice).catalog
    (twin,) = twins_within(hashed(catalog))
    assert (twin.one, twin.other, twin.identical, twin.crosses_splits) == ("a", "c", False, True)
    assert 0 < twin.distance < LIKELY
    (again,) = twins_within(hashed(catalog), {"c"})
    assert {again.one, again.other} == {"a", "c"}
    assert len(twins_within(hashed(catalog), {"a", "c"})) == 1
    assert twins_within(hashed(catalog), {"b"}) == []


def test_the_end_of_a_preparation_tells(
    scans: list[NDArray[np.int16]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = write(tmp_path / "raw", {"a": scans[0], "b": scans[1], "c": scans[0]})
    line = ["prepare", str(raw), str(tmp_path / "store"), "--spacing", "8", "--workers", "1"]
    assert cli.main(line) == 0
    said = capsys.readouterr().err
    assert "likely the same scan: a and c (distance 0.000, train and val)" in said
    assert "1 likely duplicates; `mim3d overlap" in said
    assert cli.main(line) == 0
    assert "likely the same scan" not in capsys.readouterr().err


def test_overlap_of_two_stores_as_a_table(
    twice: Path, scans: list[NDArray[np.int16]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(write(tmp_path / "more", {"x": scans[2], "y": scans[0]}), tmp_path / "other", spacing=7.0)
    out = tmp_path / "found" / "overlap.csv"
    line = ["overlap", str(twice), str(tmp_path / "other"), "--out", str(out), "--workers", "1"]
    assert cli.main(line) == 0
    captured = capsys.readouterr()
    with out.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {(row["case"], row["other"]) for row in table} == {("a", "y"), ("c", "y")}
    assert captured.out.splitlines()[0].split() == [*table[0]]
    assert len(captured.out.splitlines()) == 3
    assert "3 cases of" in captured.err
    assert "2 likely the same scan, 1 of them in different splits" in captured.err
    assert cli.main([*line[:3], "--within", "1e-4"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no scan found twice" in captured.err
    assert cli.main([*line[:3], "--within", "0"]) == 2


def test_cases_from_before_there_were_hashes_are_hashed_now(twice: Path) -> None:
    expected = with_hashes(open_store(twice), 1)
    for file in (twice / "cases").glob("*/zarr.json"):
        content = json.loads(file.read_text())
        del content["attributes"]["mim3d"]["perceptual_hash"], content["attributes"][KEY]
        file.write_text(json.dumps(content))
    (twice / "index.parquet").unlink()
    seen: list[tuple[int, int]] = []
    found = with_hashes(open_store(twice), 1, lambda *state: seen.append(state))
    assert (found.names, found.contents, found.splits) == (expected.names, expected.contents, expected.splits)
    for now, before in zip(found.hashes, expected.hashes, strict=True):
        assert distance(now, before) < 1e-3
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_same_content_is_said_to_be(scans: list[NDArray[np.int16]]) -> None:
    one = Case(
        case="one",
        patient="",
        split="train",
        shape=(1, 1, 1),
        spacing=(1.0, 1.0, 1.0),
        source_spacing=(1.0, 1.0, 1.0),
        hash="h",
        statistics={},
        labels={},
        perceptual_hash=hash_of(scans[0]),
    )
    others = Catalog((replace(one, case="two"), replace(one, case="three", hash="other")))
    found = twins_between(hashed(Catalog((one,))), hashed(others))
    assert [(twin.other, twin.identical) for twin in found] == [("three", False), ("two", True)]
