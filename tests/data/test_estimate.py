"""What a preparation will take, told without doing it."""

import csv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d.data import estimate as module
from mim3d.data.datasets import discover
from mim3d.data.estimate import file_size, header_of
from mim3d.data.groups import Supervision
from mim3d.data.guard import Promise
from mim3d.data.limits import Limits
from mim3d.data.prepare import estimate_store, prepare_store
from mim3d.data.sources import Source
from mim3d.data.volume import write_nifti

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (10, 20, 30)).astype(np.int16)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Five scans, one of them labelled, one unreadable."""
    raw = tmp_path / "raw"
    for number in range(4):
        write_nifti(raw / f"{number}.nii", VOXELS, np.diag([2.0, 2.0, 4.0, 1.0]))
    write_nifti(raw / "label.nii", (VOXELS > 0).astype(np.uint8), np.diag([2.0, 2.0, 4.0, 1.0]))
    (raw / "4.nii").write_bytes(b"broken")
    with (raw / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [["image", "label"], ["0.nii", "label.nii"], *[[f"{n}.nii", ""] for n in range(1, 5)]]
        )
    (raw / "label_sets.json").write_text('{"labels": {"structures": {"liver": 1}}}')
    return raw


def test_nothing_is_written_and_everything_counted(raw: Path, tmp_path: Path) -> None:
    found = estimate_store(discover(raw), tmp_path / "store", spacing=(4.0, 4.0, 4.0))
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    assert (found.scans, found.labelled, found.kept) == (5, 1, 0)
    assert (found.headers, found.unreadable) == (5, 1)
    assert found.size == sum(path.stat().st_size for path in raw.glob("*.nii"))
    working, source = 5 * 10 * 30, 10 * 20 * 30
    image, label = module.BYTES_PER_VOXEL * working, module.BYTES_PER_LABEL * working
    assert found.disk == pytest.approx(4 * image + label)
    each = module.SECONDS_PER_SOURCE * source
    each += (module.SECONDS_PER_RESAMPLED + module.SECONDS_PER_KEPT) * working
    labels = module.SECONDS_PER_PACKED * source
    labels += (module.SECONDS_PER_LABEL + module.SECONDS_PER_STRUCTURE) * working
    assert found.seconds == pytest.approx(4 * each + labels)


def test_what_is_stored_as_it_comes_is_not_resampled_and_what_is_packed_takes_longer(
    raw: Path, tmp_path: Path
) -> None:
    write_nifti(raw / "gz.nii.gz", np.zeros_like(VOXELS), np.diag([2.0, 2.0, 4.0, 1.0]))
    kept = 6000 * module.SECONDS_PER_KEPT
    for name, read in (("0.nii", module.SECONDS_PER_SOURCE), ("gz.nii.gz", module.SECONDS_PER_PACKED)):
        (raw / "cases.csv").write_text(f"image\n{name}\n")
        found = estimate_store(discover(raw), tmp_path / "store", spacing="native")
        assert found.seconds == pytest.approx(6000 * read + kept)


def test_every_channel_and_every_slice_takes_its_time(
    raw: Path, tmp_path: Path, write_series: Callable[..., Any]
) -> None:
    one = 6000 * (module.SECONDS_PER_SOURCE + module.SECONDS_PER_KEPT)
    (raw / "cases.csv").write_text("image\n0.nii;1.nii\n")
    assert estimate_store(discover(raw), tmp_path / "store", spacing="native").seconds == pytest.approx(
        2 * one
    )
    write_nifti(raw / "all.nii", np.stack([VOXELS] * 3, axis=-1), np.diag([2.0, 2.0, 4.0, 1.0]))
    (raw / "cases.csv").write_text("image,channel\nall.nii,all\n")
    found = estimate_store(discover(raw), tmp_path / "store", spacing="native")
    assert found.seconds == pytest.approx(3 * one)
    assert found.disk == pytest.approx(3 * 6000 * module.BYTES_PER_VOXEL)
    write_series(tmp_path / "dicom")
    found = estimate_store(discover(tmp_path / "dicom"), tmp_path / "store", spacing="native")
    voxels = 48 * (module.SECONDS_PER_SOURCE + module.SECONDS_PER_KEPT)
    assert found.seconds == pytest.approx(4 * module.SECONDS_PER_SLICE + voxels)


def test_what_is_there_is_not_counted_again(raw: Path, tmp_path: Path) -> None:
    prepare_store(raw, tmp_path / "store", spacing="native", workers=1)
    before = sorted(tmp_path.rglob("*"))
    found = estimate_store(discover(raw), tmp_path / "store", spacing="native")
    assert (found.scans, found.kept, found.headers) == (5, 4, 1)
    assert found.disk == 0.0
    assert sorted(tmp_path.rglob("*")) == before


def test_the_finer_original_counts(raw: Path, tmp_path: Path) -> None:
    plain = estimate_store(discover(raw), tmp_path / "store", spacing=(4.0, 4.0, 4.0))
    both = estimate_store(discover(raw), tmp_path / "store", spacing=(4.0, 4.0, 4.0), keep_native=True)
    assert both.disk - plain.disk == pytest.approx(4 * module.BYTES_PER_VOXEL * 10 * 20 * 30)


def test_many_scans_are_judged_by_some(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 2)
    (raw / "cases.csv").write_text("image\n" + "\n".join(f"{n}.nii" for n in range(4)))
    whole = 4 * module.BYTES_PER_VOXEL * 10 * 20 * 30
    found = estimate_store(discover(raw), tmp_path / "store", spacing="native")
    assert found.headers == 2
    assert found.disk == pytest.approx(whole)


def test_a_series_is_judged_by_its_slices(tmp_path: Path, write_series: Callable[..., Any]) -> None:
    write_series(tmp_path / "a")
    write_series(tmp_path / "a", series="1.2.4", prefix="b", places=(0.0, 3.0))
    write_series(tmp_path / "one", series="1.2.5", places=(0.0,))
    (tmp_path / "b.dcm").write_bytes(b"broken")
    sources = {source.key: source for source in discover(tmp_path).sources}
    first, second, one = (sources[key] for key in ("a/3.dcm", "a/b1.dcm", "one"))
    assert header_of(first) == Promise((4, 3, 4), (2.0, 0.5, 2.5), 2)
    assert header_of(second) == Promise((4, 3, 2), (2.0, 0.5, 3.0), 2)
    assert header_of(one) == Promise((4, 3, 1), (2.0, 0.5, 2.5), 2)
    assert header_of(sources["b.dcm"]) is None
    assert header_of(Source(image=tmp_path / "one", key="")) == header_of(one)
    assert header_of(Source(image=tmp_path / "a", key="")) is None  # two
    assert file_size(second) == sum(path.stat().st_size for path in (tmp_path / "a").glob("b*"))
    (tmp_path / "a" / "b0.dcm").unlink()
    assert header_of(second) is None


def test_a_series_in_an_archive_is_judged_by_its_slices(
    tmp_path: Path, write_series: Callable[..., Any]
) -> None:
    write_series(tmp_path / "in")
    write_series(tmp_path / "in", series="1.2.4", prefix="b", places=(0.0, 3.0))
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw" / "a.zip", "w") as packed:
        for path in sorted((tmp_path / "in").iterdir()):
            packed.write(path, path.name)
    sources = discover(tmp_path / "raw").sources
    promises = {header_of(source) for source in sources}
    assert promises == {Promise((4, 3, 4), (2.0, 0.5, 2.5), 2), Promise((4, 3, 2), (2.0, 0.5, 3.0), 2)}
    assert file_size(sources[0]) == (tmp_path / "raw" / "a.zip").stat().st_size


def test_every_file_of_a_case_is_counted_and_nothing_that_is_left_out(
    raw: Path, tmp_path: Path, write_series: Callable[..., Any]
) -> None:
    several = Source(image=raw / "0.nii", key="a", more=(raw / "1.nii",), label=raw / "label.nii")
    sizes = ((raw / name).stat().st_size for name in ("0.nii", "1.nii", "label.nii"))
    assert file_size(several) == sum(sizes)
    write_series(tmp_path / "scans" / "a", places=(0.0, 2.0))
    write_series(tmp_path / "scans" / "b", series="1.2.4", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    found = estimate_store(discover(tmp_path / "scans"), tmp_path / "store", spacing="native")
    assert (found.scans, found.headers, found.left_out) == (1, 1, 1)


def test_a_header_that_its_reader_does_not_survive_cannot_be_read(raw: Path, tmp_path: Path) -> None:
    """MetaIO waits for ever for the axes that the header promises."""
    (raw / "cases.csv").write_text("image\n0.nii\na.mha\n")
    (raw / "a.mha").write_bytes(b"ObjectType = Image\nNDims = 1e308\nElementDataFile = LOCAL\n")
    supervision = Supervision(workers=1, limits=Limits(600.0))
    found = estimate_store(discover(raw), tmp_path / "store", spacing="native", supervision=supervision)
    assert (found.headers, found.unreadable) == (2, 1)
