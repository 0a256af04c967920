"""What a data set says of a scan: all of its files, wherever it is asked from."""

from pathlib import Path

import pytest

from mim3d.data.parts import Parts, parts_at
from mim3d.data.sources import Source


def test_all_files_of_a_scan_are_known_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = Source(image=Path("a"), key="a", more=(Path("b"), Path("c")), label=Path("l"))
    assert source.files == (Path("a"), Path("b"), Path("c"), Path("l"))
    assert source.absolute().files == tuple(tmp_path / name for name in "abcl")
    assert Source(image=Path("a"), key="a").absolute().files == (tmp_path / "a",)


def test_paths_of_slices_do_not_depend_on_where_a_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parts = parts_at([Path("a/b/1"), Path("a/c/2"), Path("a/c/2")], [None, None, None], None)
    assert (parts.folder, parts.names, parts.frames) == (Path("a"), ("b/1", "c/2", "c/2"), ())
    source = Source(image=Path("a/b/1"), key="", parts=parts).absolute()
    assert source.files == (tmp_path / "a/b/1", tmp_path / "a/c/2")
    framed = parts_at([Path("a/1"), Path("a/1"), Path("a/1")], [4, 5, 6], None)
    assert framed.ends == Parts(Path("a"), ("1", "1"), (4, 6))
    assert framed.files == [Path("a/1")]
