"""What a data set says of a scan: all of its files, wherever it is asked from."""

from pathlib import Path

import pytest

from mim3d.data.sources import Source


def test_all_files_of_a_scan_are_known_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = Source(image=Path("a"), key="a", more=(Path("b"), Path("c")), label=Path("l"))
    assert source.files == (Path("a"), Path("b"), Path("c"), Path("l"))
    assert source.absolute().files == tuple(tmp_path / name for name in "abcl")
    assert Source(image=Path("a"), key="a").absolute().files == (tmp_path / "a",)
