"""What a prediction is asked for: one scan, or those of a folder, an archive or a list, each with a name.

Names are those of the files, but of DICOM series, whose files and folders bear names of patients: these are
numbered, and a list says which is which. Nothing but lists and DICOM headers is read.
"""

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mim3d.data.case_channels import read_as, source_of
from mim3d.data.dicom import holds_dicom
from mim3d.data.dicom_zip import is_archive
from mim3d.data.images import Image
from mim3d.data.itk import is_itk
from mim3d.data.listing import read_listing
from mim3d.data.nifti import is_nifti
from mim3d.data.pairs import stem
from mim3d.data.pool import Lost, supervised
from mim3d.data.prepare_case import anonymous
from mim3d.data.search import find_images
from mim3d.data.sources import Source, safe_name
from mim3d.data.volume import READABLE, Volume
from mim3d.errors import DataError, MimError

LISTED = "sources.csv"
"""Which DICOM series is which, beside the predictions: it may hold names of patients."""
CHANNEL = re.compile(r"(.+)_(\d{4})")
"""Name of a file in the layout of nnU-Net: of the case, and number of the channel."""
Read = tuple[Volume, ...] | str
"""The channels of a scan, or why it cannot be read."""
NUMBERED = re.compile(r"series_(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One scan to predict."""

    name: str
    """Of what is written about it, perhaps in a folder: `scan`, `hospital/scan`, `series_0001`."""
    source: Source
    """Where it is; its `key` is its place in what was given."""

    @property
    def dicom(self) -> bool:
        """Whether it is a DICOM series."""
        return _is_dicom(self.source.image)


@dataclass(frozen=True, slots=True)
class Inputs:
    """All scans to predict."""

    scans: tuple[Input, ...]
    alone: bool
    """Whether what was given is one scan itself."""
    left_out: tuple[str, ...] = ()
    """What was found but is no scan, e.g. `a localizer`, once for each."""


def find_inputs(given: Path, channels: int = 1, known: Mapping[str, str] | None = None) -> Inputs:
    """The scans that a path stands for.

    Args:
        given: A scan (what `read_scan` takes), a folder of scans at any depth, a ZIP archive of DICOM series,
            or a CSV with a column `image`, and perhaps `case`.
        channels: Of a scan; files of nnU-Net's layout (`case_0000`, `case_0001`) are put together.
        known: Names that DICOM series were given before, by their place in `given`.

    Raises:
        DataError: If there is nothing, two scans have one name, or the list is broken.
    """
    if given.suffix.lower() == ".csv" and given.is_file():
        return _named([(one, one.key) for one in read_listing(given).sources], known or {})
    if not given.is_dir() and not is_archive(given):
        source = source_of(given)
        for file in (source.image, *source.more):
            if not file.exists():
                raise DataError(f"{file}: no such file or folder; name a scan, a folder of scans or a CSV")
        return Inputs((Input(name=stem(source.image), source=source),), alone=True)
    images = sorted(find_images([given]), key=lambda image: image.path)
    scans = [image for image in images if not image.left_out]
    left_out = tuple(image.left_out for image in images if image.left_out)
    if [image.path for image in scans] in ([given], []) and (
        scans or is_archive(given) or _holds_slices(given)
    ):
        return Inputs((Input(name=stem(given), source=source_of(given)),), alone=True, left_out=left_out)
    if not scans:
        raise DataError(f"{given}: nothing in it is a scan; what can be read is {READABLE}")
    sources = [(source, _place(source.image, given)) for source in _put_together(scans, channels)]
    return replace(_named(sources, known or {}), left_out=left_out)


def read_names(folder: Path) -> dict[str, str]:
    """Names that DICOM series were given before, by their place; none if there is no list.

    Raises:
        DataError: If the list is damaged.
    """
    file = folder / LISTED
    if not file.is_file():
        return {}
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            return {row["image"]: row["case"] for row in csv.DictReader(lines)}
    except (KeyError, csv.Error) as error:
        raise DataError(
            f"{file}: not a table of case and image; restore it, or move it away to have series numbered anew"
        ) from error


def write_names(folder: Path, scans: Iterable[Input], known: Mapping[str, str]) -> None:
    """Keep which DICOM series is which, readable by its owner only; nothing if there is none."""
    names = {**known, **{one.source.key: one.name for one in scans if one.dicom}}
    if not names:
        return
    aside = folder / f".{LISTED}.partial"
    aside.touch(mode=0o600)
    with aside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("case", "image"))
        writer.writerows(sorted((name, image) for image, name in names.items()))
    os.replace(aside, folder / LISTED)


def read_inputs(scans: Sequence[Input], modalities: tuple[str, ...]) -> Iterator[tuple[Input, Read]]:
    """Each scan with its channels, or the reason why it cannot be read, in order, one at a time.

    They are read by a process beside this one, as a broken file may end the one that reads it.
    """
    for outcome in supervised(partial(_read, modalities), scans, workers=1):
        if isinstance(outcome, Lost):
            yield outcome.task, outcome.reason
        else:
            yield outcome


def _read(modalities: tuple[str, ...], scan: Input) -> tuple[Input, Read]:
    """The channels of a scan, or what is wrong with it, without names."""
    try:
        return scan, read_as(scan.source, modalities)
    except (AssertionError, MemoryError):
        raise
    except Exception as error:  # readers of broken files raise whatever they like
        reason = str(error) if isinstance(error, MimError) else f"{type(error).__name__}: {error}"
        return scan, anonymous(reason, scan.source)


def _is_dicom(path: Path) -> bool:
    """Whether it is a DICOM series, or would be one if it were there."""
    named_otherwise = is_nifti(path) or is_itk(path)
    return path.is_dir() or holds_dicom(path) or not (named_otherwise or path.exists())


def _holds_slices(folder: Path) -> bool:
    """Whether a folder without scans holds DICOM files, so that reading it says what is wrong with them."""
    return any(_is_dicom(path) for path in folder.iterdir() if path.is_file())


def _place(path: Path, given: Path) -> str:
    return path.relative_to(given).as_posix()


def _put_together(scans: list[Image], channels: int) -> list[Source]:
    """A source a case: files that are numbered as channels of it are one, where several are needed."""
    volumes = [
        replace(source_of(image.path), parts=image.parts) for image in scans if image.parts is not None
    ]
    files = [image.path for image in scans if image.parts is None]
    if channels == 1:
        return volumes + [source_of(path) for path in files]
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        numbered = CHANNEL.fullmatch(stem(path))
        groups[path.with_name(numbered[1]) if numbered and not _is_dicom(path) else path].append(path)
    found = volumes
    for paths in groups.values():
        whole = [f"{number:04d}" for number in range(channels)] == [stem(path)[-4:] for path in paths]
        image, *more = paths
        found += [replace(source_of(image), more=tuple(more))] if whole else map(source_of, paths)
    return found


def _named(sources: list[tuple[Source, str]], known: Mapping[str, str]) -> Inputs:
    """Each scan with its name, and with its place as key."""
    files = [source for source, _ in sources if not _is_dicom(source.image)]
    numbered = all(is_nifti(one.image) and CHANNEL.fullmatch(stem(one.image)) for one in files)
    numbers = [int(found[1]) for found in map(NUMBERED.fullmatch, known.values()) if found]
    last = max(numbers, default=0)
    scans = []
    for source, place in sources:
        if source.case:
            name = source.case
        elif _is_dicom(source.image):
            last += place not in known
            name = known.get(place) or f"series_{last:04d}"
        else:
            own = stem(source.image)
            own = own[:-5] if numbered or source.more else own
            name = (Path(place.split(";")[0]).parent / own).as_posix()
            name = "/".join(safe_name(part) for part in name.split("/") if part != "..")
        scans.append(Input(name=name, source=replace(source, key=place)))
    twice = [name for name, count in Counter(one.name for one in scans).items() if count > 1]
    if twice:
        raise DataError(
            f"{twice[0]}: several scans have this name, and each needs its own; list them in a CSV with "
            "columns case and image"
        )
    return Inputs(tuple(sorted(scans, key=lambda one: one.name)), alone=False)
