"""What is written about a predicted scan: the label map, names beside it, probabilities, a DICOM SEG.

All of it says that it is not for clinical use. The file of names comes first and says what it was made with,
the label map comes last, but for a SEG, which can be made of it: so what was interrupted is known by what is
missing, and made again.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mim3d import __version__
from mim3d.data.label_check import checked_labels, require_same_grid
from mim3d.data.labels import LabelSet
from mim3d.data.pairs import sidecar, stem
from mim3d.data.sources import safe_name
from mim3d.data.volume import Volume, as_stored, canonical, read_volume, write_nifti
from mim3d.errors import DataError
from mim3d.geometry import Vector
from mim3d.train.run_folder import write_json

NOTICE = "Made by a research tool. Not for clinical use: no diagnosis, treatment or decision may rest on it."
IN_HEADER = f"mim3d {__version__}, a research tool: NOT FOR CLINICAL USE"
"""For the header of a NIfTI, which has room for 79 letters."""

State = Literal["missing", "done", "foreign"]
"""Of the outputs of a scan: to be made, all there, or made otherwise (or by somebody else)."""
Stamp = dict[str, Any]
"""What a prediction follows from: identity of the scan, hashes of weights, and settings."""
Structures = Mapping[str, Sequence[int]]
"""Name of each structure, and the values of a label map that make it up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """Files about one scan."""

    names: Path
    """JSON that says what is what, and what it was made with."""
    labels: Path | None = None
    """Label map, of which it tells."""
    seg: Path | None = None
    """DICOM SEG, if asked for."""
    probabilities: dict[str, Path] = field(default_factory=dict)
    """Of each structure, if asked for."""

    def files(self) -> Iterator[Path]:
        """All of them in the order in which they are written, the names left out."""
        yield from self.probabilities.values()
        if self.labels is not None:
            yield self.labels
        if self.seg is not None:
            yield self.seg

    @property
    def main(self) -> Path:
        """The one that was asked for by name."""
        return self.names if self.labels is None else self.labels

    def every(self) -> Iterator[Path]:
        """All of them."""
        yield from self.files()
        yield self.names

    def state(self, stamp: Stamp) -> State:
        """What there is of them already."""
        there = [path.exists() for path in self.every()]
        if not any(there):
            return "missing"
        if stamp_of(self.names) != stamp:
            return "foreign"
        return "done" if all(there) else "missing"

    def lack_seg_alone(self, stamp: Stamp) -> bool:
        """Whether nothing but the SEG is to be made."""
        others = replace(self, seg=None)
        return self.seg is not None and not self.seg.exists() and others.state(stamp) == "done"

    def prepare(self) -> None:
        """Make the folders, and take away what an interrupted process left unfinished in them."""
        for path in self.every():
            path.parent.mkdir(parents=True, exist_ok=True)
            for left in path.parent.glob(".*"):
                if re.fullmatch(rf"\.(\d+-)?{re.escape(path.name)}(\.partial|\.raw)?", left.name):
                    left.unlink()

    def clear(self) -> None:
        """Take away what is there of them, the names last."""
        for path in (*reversed([*self.files()]), self.names):
            path.unlink(missing_ok=True)


def outputs_of(labels: Path, names: Sequence[str], *, seg: bool, probabilities: Path | None) -> Outputs:
    """The files about a scan whose label map is asked for at a place.

    Args:
        labels: Of the label map, .nii or .nii.gz.
        names: Of the structures.
        seg: Whether a DICOM SEG is wanted; it lies beside the label map.
        probabilities: Folder for those of each structure, if they are wanted.
    """
    found = {} if probabilities is None else {n: probabilities / f"{safe_name(n)}.nii.gz" for n in names}
    beside = labels.with_name(stem(labels) + ".seg.dcm") if seg else None
    return Outputs(names=sidecar(labels), labels=labels, seg=beside, probabilities=found)


def numbered(structures: Structures) -> LabelSet:
    """What a value of the label map says: structures are painted in their order, from 1."""
    return LabelSet("prediction", {name: value for value, name in enumerate(structures, start=1)})


def stamp_of(names: Path) -> Stamp | None:
    """What the names beside a prediction say that it was made with; None if they say nothing of it."""
    try:
        content = json.loads(names.read_text(encoding="utf-8"))
        return dict(content["made_with"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def found_in(names: Path, what: str) -> dict[str, float]:
    """What the file of names of a finished prediction says that was found, e.g. `volumes_ml`."""
    found: dict[str, float] = json.loads(names.read_text(encoding="utf-8"))[what]
    return found


def begin(outputs: Outputs, structures: Structures, volumes: Mapping[str, float], stamp: Stamp) -> None:
    """Take away earlier outputs and write names: of a structure its value, or several, painted over it."""
    outputs.clear()
    colours = numbered(structures)
    content = {
        "notice": NOTICE,
        "structures": {name: list(own) if len(own) > 1 else own[0] for name, own in structures.items()},
        "colours": {name: colours.colour(name) for name in structures},
        "volumes_ml": {name: round(ml, 4) for name, ml in volumes.items()},
        "mim3d": __version__,
        "made_with": stamp,
    }
    write_json(outputs.names, content)


def write_labels(outputs: Outputs, labels: NDArray[Any], stored: Volume) -> None:
    """The label map (X, Y, Z), on the grid of the scan as stored."""
    assert outputs.labels is not None
    write_nifti(outputs.labels, labels, stored.affine, description=IN_HEADER)


def read_labels(outputs: Outputs, structures: Structures, stored: Volume) -> NDArray[Any]:
    """The label map (X, Y, Z) that is there, on the grid of the scan as stored.

    Somebody may have corrected it since it was written, and another program may have turned its axes.

    Raises:
        DataError: If it lies on another grid, or holds a value that is no structure's.
    """
    assert outputs.labels is not None
    try:
        kept = canonical(read_volume(outputs.labels))
        require_same_grid(canonical(stored), kept)
        return as_stored(checked_labels(kept.array, numbered(structures)), stored)
    except DataError as error:
        raise DataError(
            f"{outputs.labels.name}, of which the SEG is to be made: {error}; or delete it, to predict anew"
        ) from error


def volumes_ml(labels: NDArray[Any], structures: Structures, spacing: Vector) -> dict[str, float]:
    """Volume in ml of each structure of a label map (X, Y, Z), by the values that make it up."""
    counts = np.zeros(1 + len(structures), np.int64)
    for part in labels:  # counting takes 8 bytes a voxel: not for the whole scan at once
        counts += np.bincount(part.ravel(), minlength=len(counts))
    ml = math.prod(spacing) / 1000
    return {name: int(counts[list(own)].sum()) * ml for name, own in structures.items()}
