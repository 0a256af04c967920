"""What stays beside a store: one key, and a list that only its owner reads."""

import os
import stat
from pathlib import Path

import pytest

from mim3d.data.private import Origin, open_private
from mim3d.errors import StoreError


def origin(case: str, image: str = "a.nii") -> Origin:
    return Origin(case, image, "", "Jane Doe", "0")


def test_one_store_keeps_one_key(tmp_path: Path) -> None:
    first, again = open_private(tmp_path / "store"), open_private(tmp_path / "store")
    other = open_private(tmp_path / "other")
    assert first.path == tmp_path / "store.private"
    assert first.hash("patient", "Jane Doe") == again.hash("patient", "Jane Doe")
    hashes = {
        first.hash("patient", "Jane Doe"),
        first.hash("scan", "Jane Doe"),
        other.hash("patient", "Jane Doe"),
    }
    assert len(hashes) == 3
    assert {len(one) for one in hashes} == {16}


def test_origins_are_added_and_renewed(tmp_path: Path) -> None:
    private = open_private(tmp_path / "store")
    assert private.origins() == {}
    private.record([origin("b"), origin("a")])
    private.record([origin("b", 'new, "b".nii')])
    assert private.origins() == {"a": origin("a"), "b": origin("b", 'new, "b".nii')}


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    private = open_private(tmp_path / "store")
    private.record([origin("a")])
    assert stat.S_IMODE(private.path.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in private.path.iterdir()}
    assert modes == {"key": 0o600, "sources.csv": 0o600}


def test_rejected_scans_are_listed_by_their_files(tmp_path: Path) -> None:
    private = open_private(tmp_path / "store")
    odd = os.fsdecode(b"M\xfcller.nii")
    private.record([origin("a", odd)])
    private.list_rejected({"a": "one slice, no volume", "gone": "empty"})
    file = private.path / "rejected.csv"
    assert file.read_bytes() == (
        b"image,reason,key\r\n,empty,gone\r\n" + b'M\xfcller.nii,"one slice, no volume",a\r\n'
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    private.list_rejected({})
    assert not file.exists()


def test_a_damaged_key_is_said(tmp_path: Path) -> None:
    (tmp_path / "store.private").mkdir()
    (tmp_path / "store.private" / "key").write_bytes(b"short")
    with pytest.raises(StoreError, match=r"store\.private/key: 5 bytes, 32 are needed; restore the key"):
        open_private(tmp_path / "store")


def test_names_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    private = open_private(tmp_path / "store")
    odd = os.fsdecode(b"M\xfcller.nii")
    private.record([origin("a", odd)])
    assert private.origins() == {"a": origin("a", odd)}
    assert private.hash("scan", odd) != private.hash("scan", "Muller.nii")


def test_a_damaged_list_is_said(tmp_path: Path) -> None:
    private = open_private(tmp_path / "store")
    (private.path / "sources.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(StoreError, match=r"store\.private/sources\.csv: not a table of case, image, label"):
        private.origins()


def test_a_store_named_by_a_dot_has_its_folder_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path / "store")
    assert open_private(Path()).path == tmp_path / "store.private"
