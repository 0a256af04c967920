"""What the system refuses ends in one line, too."""

from pathlib import Path

import pytest

from mim3d.cli import main


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text('{"kind": "pretrain"}')
    (tmp_path / "file").touch()
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "file" / "page.html")]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"mim3d: {tmp_path / 'file'}: File exists; make room, mend the permissions, or name another place, "
        "then run the same command again\n"
    )
