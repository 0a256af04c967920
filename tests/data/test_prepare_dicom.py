"""DICOM folders as they come, prepared: volumes, their studies, and what was left out."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mim3d.data.prepare import prepare_store
from mim3d.data.store import open_store
from mim3d.geometry import Box

Write = Callable[..., Any]


def test_a_folder_of_mixed_series_becomes_cases(tmp_path: Path, write_series: Write) -> None:
    raw, study = tmp_path / "raw", {"StudyInstanceUID": "1.9"}
    write_series(raw, series="1.1", prefix="a", suffix="", ConvolutionKernel="B30f", **study)
    write_series(raw, series="1.2", prefix="b", suffix="", ConvolutionKernel="B70f", add=9, **study)
    for phase in (1, 2):
        write_series(
            raw,
            series="1.3",
            prefix=f"c{phase}",
            add=20 * phase,
            AcquisitionNumber=phase,
            StudyInstanceUID="1.8",
        )
    write_series(raw, series="1.4", prefix="d", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(raw, series="1.5", prefix="e", add=30, ImageType=["DERIVED", "SECONDARY", "MPR"])
    prepared = prepare_store(raw, tmp_path / "store", spacing="native", workers=1)
    cases = prepared.catalog.cases
    assert len(cases) == 4
    assert len({case.patient for case in cases}) == 1
    by_kernel = {case.kernel: case.study for case in cases}
    assert by_kernel["B30f"] == by_kernel["B70f"] != by_kernel[""]
    assert sorted(scan.reason.split(",")[0] for scan in prepared.rejected) == [
        "a localizer",
        "a reformatted image",
    ]
    again = prepare_store(raw, tmp_path / "store", spacing="native", workers=1, derived=True)
    assert (again.made, again.kept, len(again.rejected)) == (1, 4, 1)


def test_an_archive_becomes_cases_and_is_watched_for_changes(tmp_path: Path, write_series: Write) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    stored = {}
    for attempt in range(2):
        with zipfile.ZipFile(raw / "a.zip", "w") as archive:
            for name in ("1", "2"):
                stored[name] = write_series(tmp_path / name, series=f"1.{name}", add=attempt)
                for path in (tmp_path / name).iterdir():
                    archive.write(path, f"{name}/{path.name}")
        prepared = prepare_store(raw, tmp_path / "store", spacing="native", workers=1)
        assert (prepared.made, prepared.kept) == (2, 0)
    unchanged = prepare_store(raw, tmp_path / "store", spacing="native", workers=1)
    assert (unchanged.made, unchanged.kept) == (0, 2)
    case = unchanged.catalog.cases[0].case
    box = Box((0, 0, 0), (4, 3, 4))
    voxels = open_store(tmp_path / "store").read(case, box, (4, 3, 4))[0]
    np.testing.assert_array_equal(voxels, (stored["1"].T - 1024)[::-1, ::-1])


def test_a_slice_that_a_link_takes_from_outside_is_refused(tmp_path: Path, write_series: Write) -> None:
    raw = tmp_path / "raw"
    write_series(raw / "good", series="1.1")
    write_series(raw / "two", series="1.2")
    write_series(raw / "two", series="1.3", prefix="b")
    (raw / "two" / "b1.dcm").rename(tmp_path / "outside.dcm")
    (raw / "two" / "b1.dcm").symlink_to(tmp_path / "outside.dcm")
    prepared = prepare_store(raw, tmp_path / "store", spacing="native", workers=1)
    assert prepared.made == 2
    (rejected,) = prepared.rejected
    assert rejected.reason.startswith("a file: a symbolic link that leaves the data folder")
    linked = prepare_store(raw, tmp_path / "store", spacing="native", workers=1, follow_links=True)
    assert (linked.made, linked.kept) == (1, 2)


def test_a_gantry_set_upright_is_said_in_the_catalog(tmp_path: Path, write_series: Write) -> None:
    write_series(
        tmp_path / "raw", each=lambda number: {"ImagePositionPatient": [-10.0, number - 20.0, 2.5 * number]}
    )
    prepared = prepare_store(tmp_path / "raw", tmp_path / "store", workers=1)
    assert prepared.catalog.cases[0].note == "gantry tilt of 21.8 degrees set upright"
