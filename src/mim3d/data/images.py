"""What stands for each scan that is found in a folder, and for each image that is none."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mim3d.data.dicom import chosen, damage_note
from mim3d.data.dicom_folders import same_as_copy
from mim3d.data.dicom_held import DAMAGED
from mim3d.data.dicom_stacks import Stack
from mim3d.data.dicom_zip import on_disk
from mim3d.data.grids import joined
from mim3d.data.parts import Parts, parts_at
from mim3d.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A scan, or what is left out."""

    path: Path
    """What stands for it."""
    left_out: str = ""
    """What it is, or what is wrong with it, if it is not read."""
    note: str = ""
    """What must be said of it."""
    parts: Parts | None = None
    """Of a DICOM volume; of others, `path` is all."""
    places: frozenset[Path] = frozenset()
    """Folders, or the archive, that a DICOM volume lies in."""
    patient: str = ""
    study: str = ""
    series: tuple[str, str, str] | None = None
    """Patient, study and series of slices that others, in other folders, may belong to."""
    content: bytes = b""
    """Copies of a DICOM volume have the same here."""

    @property
    def of_patient(self) -> str | None:
        """Identifier of the patient, None where not known.

        A scan without PatientID has its study for a patient, so that volumes of one study share a split.
        """
        return self.patient or (f"study {self.study}" if self.study else None)


def image_of(stack: Stack) -> Image:
    """What stands for a DICOM volume."""
    first = stack.slices[0]
    held = on_disk(first.path)
    archive = None if held == first.path else held
    paths = [one.path for one in stack.slices]
    same = sorted(repr(same_as_copy(one)) for one in stack.slices)
    return Image(
        path=stack.path,
        left_out=stack.broken or stack.left_out,
        note=stack.note,
        parts=parts_at(paths, [one.frame for one in stack.slices], archive),
        places=frozenset([archive] if archive else (path.parent for path in paths)),
        patient=first.patient,
        study=first.study,
        series=(first.patient, first.study, first.series) if first.series and archive is None else None,
        content=hashlib.sha256(repr(same).encode(errors="surrogateescape")).digest(),
    )


def image_at(path: Path) -> Image | None:
    """What stands for the DICOM volume that a path names; None if it names none, or several."""
    try:
        stack, found = chosen(path)
    except DataError:
        return None
    damaged = sum(left_out == DAMAGED for left_out in found.others.values())
    image = image_of(stack)
    return Image(
        path=path,
        note=joined(image.note, damage_note(damaged)),
        parts=image.parts,
        patient=image.patient,
        study=image.study,
    )
