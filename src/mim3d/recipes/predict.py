"""`mim3d predict`: a fine-tuned run and a scan in, a label map on the scan's own grid out."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mim3d.config.structures import values
from mim3d.data.case_channels import notes_of, read_scan
from mim3d.data.labels import LabelSet
from mim3d.data.nifti import is_nifti
from mim3d.data.pairs import sidecar
from mim3d.data.volume import write_nifti
from mim3d.downstream.segmenter import load_segmenter
from mim3d.errors import ConfigError, DataError
from mim3d.geometry import Vector
from mim3d.inference.segment import read_preprocessing, segment
from mim3d.recipes.progress import shown_progress
from mim3d.recipes.run import say
from mim3d.train.run_folder import write_json

NOTICE = "Made by a research tool. Not for clinical use: no diagnosis, treatment or decision may rest on it."


def predict(
    run: Path,
    scan: Path,
    out: Path,
    /,
    *,
    overlap: float | None = None,
    device: str = "cpu",
    overwrite: bool = False,
) -> dict[str, float]:
    """Segment one scan and write the label map on the scan's own grid, with names and colours beside it.

    Args:
        run: Run folder of a fine-tuned model.
        scan: NIfTI, NRRD or MetaImage file, or a folder with one DICOM series; any spacing and orientation.
            Of a run on several channels: one file with all of them, or files joined by `;`, in their order.
        out: Label map to write, .nii or .nii.gz; names, colours and volumes go into the .json beside it.
        overlap: Share of a window shared with its neighbour, 0 <= overlap < 1; by default the run's own.
        device: Where the network runs, e.g. `cpu` or `cuda:0`.
        overwrite: Replace an `out` that is there.

    Returns:
        Volume of each structure in ml.

    Raises:
        MimError: If the run, the scan, the output or a setting cannot be used.
    """
    _require_writable(out, overwrite=overwrite)
    _require_device(device)
    network, config = load_segmenter(run, device)
    preprocessing = read_preprocessing(run)
    channels = read_scan(scan, preprocessing.modalities or (preprocessing.modality,))
    stored = channels[0]
    if said := notes_of(channels):
        say(f"warning: {scan.name}: {said}")
    with shown_progress() as on_windows, _naming(scan):
        labels = segment(
            network,
            channels,
            preprocessing,
            crop=config.crop,
            overlap=config.overlap if overlap is None else overlap,
            overlapping=config.overlapping,
            device=device,
            on_windows=on_windows,
        )
    structures = values(config.structures)
    volumes = _volumes(labels, structures, stored.spacing)
    write_nifti(out, labels, stored.affine)
    _write_sidecar(out, structures, volumes)
    say(f"{out}: " + ", ".join(f"{name} {ml:.1f} ml" for name, ml in volumes.items()))
    return volumes


def _require_writable(out: Path, *, overwrite: bool) -> None:
    if not is_nifti(out):
        raise DataError(f"{out.name}: label maps are written as NIfTI; end the name in .nii or .nii.gz")
    for path in (out, sidecar(out)):
        if path.is_dir() or (path.exists() and not overwrite):
            raise DataError(f"{path}: is there already; add --overwrite, or name another file")


def _require_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch has no error of its own for a missing device
        reason = str(error).split("\n")[0]
        raise ConfigError(f"device {device!r} cannot be used ({reason}); `cpu` always can") from error


def _volumes(
    labels: NDArray[Any], structures: dict[str, tuple[int, ...]], spacing: Vector
) -> dict[str, float]:
    """Volume in ml of each structure of a label map (X, Y, Z), by the values that make it up."""
    counts = np.zeros(1 + len(structures), np.int64)
    for part in labels:  # counting takes 8 bytes a voxel: not for the whole scan at once
        counts += np.bincount(part.ravel(), minlength=len(counts))
    ml = math.prod(spacing) / 1000
    return {name: int(counts[list(own)].sum()) * ml for name, own in structures.items()}


def _write_sidecar(out: Path, structures: dict[str, tuple[int, ...]], volumes: dict[str, float]) -> None:
    """Names beside a label map: of each structure its value, or several where others are painted over it."""
    colours = LabelSet("prediction", {name: value for value, name in enumerate(structures, start=1)})
    content = {
        "structures": {name: list(own) if len(own) > 1 else own[0] for name, own in structures.items()},
        "colours": {name: colours.colour(name) for name in structures},
        "volumes_ml": {name: round(ml, 4) for name, ml in volumes.items()},
        "notice": NOTICE,
    }
    write_json(sidecar(out), content)


@contextmanager
def _naming(scan: Path) -> Iterator[None]:
    """Put the scan's name in front of what is wrong with it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{scan.name}: {error}") from error
