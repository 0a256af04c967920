"""Every scan in folders, at any depth. Of DICOM and archives, headers are read; of all else, names alone.

First each folder and archive is looked at for itself. Then series whose slices lie in several folders are
looked at once more, all their files together. Reading a header may end or hang whoever reads it, or take any
memory: where a `Supervision` is given, that costs the file alone.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import TypeVar

from mim3d.data import itk, nifti
from mim3d.data.dicom import damage_note
from mim3d.data.dicom_folders import COPY
from mim3d.data.dicom_held import DAMAGED, Held, found_in, held_by
from mim3d.data.dicom_kinds import ASKED_FOR
from mim3d.data.dicom_zip import is_archive
from mim3d.data.grids import joined
from mim3d.data.groups import Supervision, in_a_hurry, in_groups
from mim3d.data.images import Image, image_of
from mim3d.data.pool import Lost
from mim3d.errors import DataError

Key = TypeVar("Key", bound=Hashable)
Told = tuple[Path, Held | Lost[Path] | None]
"""A file or an archive, and what it holds; None of an archive that is refused."""
CLOSED = "a folder that may not be opened: mend its permissions, or leave it out"


@dataclass(frozen=True, slots=True)
class Walked:
    """Files by what their names tell."""

    scans: list[Path]
    archives: list[Path]
    others: list[Path]
    """Any of them may be DICOM."""
    closed: list[Path]
    """Folders that may not be opened."""


def find_scans(folder: Path, *, derived: bool = False) -> list[Path]:
    """Everything in a folder, at any depth, that looks like a scan; hidden files and folders are skipped.

    What it returns, `read_volume` takes: a folder or ZIP archive with one DICOM volume stands for it, of
    several volumes the first file of each; what lies in several folders is not put together. Localizers are
    left out, and derived, reformatted and burned-in images too unless `derived`; `find_images` tells them.
    """
    walked = _walked([folder])
    named = _named([*_by_name(walked), *_by_header(walked, None)], derived)
    return sorted(image.path for image in named if not image.left_out)


def find_images(
    folders: Sequence[Path], *, derived: bool = False, supervision: Supervision | None = None
) -> list[Image]:
    """All scans in folders, and what is left out, in no order.

    Args:
        folders: Or ZIP archives; none of them in another.
        derived: Take derived, reformatted and burned-in images and secondary captures with a place too.
        supervision: Who reads headers; None: this process, with nobody watching.
    """
    walked = _walked(folders)
    images = _put_together(_by_header(walked, supervision), supervision)
    damaged = Counter(place for image in images if _is_damaged(image) for place in image.places)
    noted = [_noted(image, sum(damaged[place] for place in image.places)) for image in images]
    return _named([*_by_name(walked), *_without_copies(noted)], derived)


def _walked(folders: Sequence[Path]) -> Walked:
    walked = Walked([], [], [], [])
    walked.archives.extend(filter(is_archive, folders))
    for folder in folders:
        for parent, inside, names in os.walk(folder, onerror=lambda error: _closed(error, walked)):
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            for name in sorted(name for name in names if not name.startswith(".")):
                path = Path(parent) / name
                _those_like(path, walked).append(path)
    return walked


def _closed(error: OSError, walked: Walked) -> None:
    walked.closed.append(Path(error.filename))


def _those_like(path: Path, walked: Walked) -> list[Path]:
    if nifti.is_nifti(path) or itk.is_itk(path) or nifti.heads_pair(path):
        return walked.scans
    return walked.archives if is_archive(path) else walked.others


def _by_name(walked: Walked) -> list[Image]:
    """Scans that are told by their names, and folders that nothing is told of."""
    closed = [Image(path=path, left_out=CLOSED) for path in walked.closed]
    return [*(Image(path=path) for path in walked.scans), *closed]


def _by_header(walked: Walked, supervision: Supervision | None) -> list[Image]:
    """What each folder, and each archive, holds of DICOM for itself."""
    folders = _gathered(walked.others, attrgetter("parent"), in_a_hurry(supervision))
    images = [image for _, told in folders for image in _images(told)]
    archives = in_groups(_held, walked.archives, supervision, most=1)
    return images + [image for told in archives for image in _images([told])]


def _put_together(images: list[Image], supervision: Supervision | None) -> list[Image]:
    """The same, with volumes of series that lie in several folders made of all their files."""
    places: defaultdict[Hashable, set[Path]] = defaultdict(set)
    for image in images:
        places[image.series] |= image.places
    spread = {series for series, several in places.items() if series is not None and len(several) > 1}
    series_of = {
        file: image.series
        for image in images
        if image.series in spread and image.parts is not None
        for file in image.parts.files
    }
    kept = [image for image in images if image.series not in spread]
    gathered = _gathered(list(series_of), series_of.__getitem__, in_a_hurry(supervision))
    return kept + [image for _, told in gathered for image in _images(told)]


def _gathered(
    files: Sequence[Path], key_of: Callable[[Path], Key], supervision: Supervision | None
) -> Iterator[tuple[Key, list[Told]]]:
    """What the files of each key hold, as soon as all of them are read."""
    waiting = Counter(map(key_of, files))
    told: defaultdict[Key, list[Told]] = defaultdict(list)
    for file, held in in_groups(_held, files, supervision):
        key = key_of(file)
        told[key].append((file, held))
        waiting[key] -= 1
        if not waiting[key]:
            yield key, sorted(told.pop(key), key=itemgetter(0))


def _held(path: Path) -> Held | None:
    """What a file or an archive holds, None if it is refused: reading it says why."""
    try:
        return held_by(path)
    except DataError:
        return None


def _images(told: Sequence[Told]) -> Iterator[Image]:
    """What stands for all that files, or one archive, hold."""
    found = found_in(held for _, held in told if isinstance(held, Held))
    yield from map(image_of, found.stacks)
    lost = {path: f"{DAMAGED}: {held.reason}" for path, held in told if isinstance(held, Lost)}
    first, _ = told[0]
    archive = first if is_archive(first) else None
    for path, left_out in {**found.others, **lost}.items():
        yield Image(path=path, left_out=left_out, places=frozenset([archive or path.parent]))
    yield from (Image(path=path) for path, held in told if held is None)


def _without_copies(images: Sequence[Image]) -> Iterator[Image]:
    """The same, all but the first of volumes with the same slices left out; those in folders come first."""
    seen: set[bytes] = set()
    for image in sorted(images, key=lambda image: (image.series is None, image.path)):
        copy = image.parts is not None and image.content in seen
        yield replace(image, left_out=COPY) if copy else image
        seen.add(image.content)


def _named(images: Sequence[Image], derived: bool) -> list[Image]:
    """The same; a folder, or an archive, stands for the one scan that it holds, if it holds no other."""
    scans = Counter(place for image in images if not image.left_out for place in image.places)
    named = []
    for image in images:
        asked = derived and image.left_out in ASKED_FOR
        (*_, place) = image.places or [image.path]
        only = not image.left_out and len(image.places) == 1 and scans[place] == 1
        named.append(
            replace(image, path=place if only else image.path, left_out="" if asked else image.left_out)
        )
    return named


def _noted(image: Image, damaged: int) -> Image:
    """An image with what is said of so many damaged files beside it."""
    return replace(image, note=joined(image.note, damage_note(damaged)))


def _is_damaged(image: Image) -> bool:
    return image.left_out.startswith(DAMAGED)
