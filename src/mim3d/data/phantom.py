"""Cohorts of random labelled CT-like patients in nnU-Net's folder layout, for everybody who has no data yet.

Layout: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json, cases.csv (case, phase, disease),
targets.csv (case, disease, site, phase: what `prepare` classifies by) and phantom.json (the options). A case
is a function of its number and the options alone: neither the number of cases nor of processes changes a
byte.
"""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from mim3d.data.nifti import write_nifti
from mim3d.data.phantom_case import REVISION, PhantomOptions, draw_phantom, structures
from mim3d.data.phantom_tissue import Plan, plan_case
from mim3d.data.pool import in_processes
from mim3d.data.targets import NONE, TARGETS
from mim3d.errors import DataError

_OPTIONS = "phantom.json"


def make_phantoms(
    folder: Path,
    options: PhantomOptions,
    *,
    cases: int,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write patients 0 to `cases` - 1, those that are not there yet; gives the images in order.

    Args:
        folder: New, empty, or begun with the same options.
        options: What the patients share.
        cases: How many patients the folder shall hold.
        workers: Processes that draw; 1 draws in this one.
        on_progress: Called with the number of patients there and wanted, first before anything is drawn.

    Raises:
        DataError: If `cases` or `workers` is below 1, the folder cannot be used or holds anything else, or a
            process is killed.
    """
    for name, value in (("cases", cases), ("workers", workers)):
        if value < 1:
            raise DataError(f"{name} must be at least 1, got {value}")
    _claim(folder, options, cases)
    missing = [index for index in range(cases) if not all(path.exists() for path in _files(folder, index))]
    written = in_processes(partial(write_case, folder, options), missing, workers)
    for done, _ in enumerate(chain([None], written), start=cases - len(missing)):
        if on_progress is not None:
            on_progress(done, cases)
    plans = [plan_case(options.seed, index, lesions=options.lesions) for index in range(cases)]
    _write_text(folder / "cases.csv", _table(("case", "phase", "disease"), map(_described, plans)))
    _write_text(folder / TARGETS, _table(("case", "disease", "site", "phase"), map(_classified, plans)))
    _write_text(folder / "dataset.json", json.dumps(_description(options, cases), indent=2) + "\n")
    return [_files(folder, index)[0] for index in range(cases)]


def case_name(index: int) -> str:
    """What patient number `index` is called."""
    return f"phantom_{index:04d}"


def write_case(folder: Path, options: PhantomOptions, index: int) -> None:
    """Draw and write one patient, the image last; each file appears whole or not at all."""
    image, labels = _files(folder, index)
    phantom = draw_phantom(index, options)
    write_nifti(labels, phantom.labels, phantom.affine)
    write_nifti(image, phantom.hu, phantom.affine)


def _claim(folder: Path, options: PhantomOptions, cases: int) -> None:
    """Mark a new folder with the options; refuse one that holds anything else."""
    ours = json.loads(json.dumps({"revision": REVISION, **asdict(options)}))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be used as a folder ({error.strerror}); name another") from error
    if _OPTIONS in held:
        _require_same(folder, ours, cases)
    elif held:
        raise DataError(
            f"{folder}: holds {held[0]!r} and no {_OPTIONS}, so it is no cohort of phantoms; "
            "name a new or empty folder"
        )
    else:
        _write_text(folder / _OPTIONS, json.dumps(ours, indent=2) + "\n")


def _require_same(folder: Path, ours: dict[str, Any], cases: int) -> None:
    """Refuse to mix cohorts, or to hide patients of a larger one."""
    try:
        theirs = dict(json.loads((folder / _OPTIONS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{folder / _OPTIONS}: unreadable ({error}); name another folder") from error
    for name, value in ours.items():
        if theirs.get(name) != value:
            raise DataError(
                f"{folder}: holds phantoms with {name} {theirs.get(name)}, asked for {value}; "
                "name another folder, or ask for the same"
            )
    more = sum(path.name.startswith("phantom_") for path in (folder / "labelsTr").glob("*.nii.gz"))
    if more > cases:
        raise DataError(
            f"{folder}: already holds {more} phantoms, asked for {cases}; "
            f"name another folder, or ask for {more} or more"
        )


def _files(folder: Path, index: int) -> tuple[Path, Path]:
    """Image and label map of a patient."""
    name = case_name(index)
    return folder / "imagesTr" / f"{name}_0000.nii.gz", folder / "labelsTr" / f"{name}.nii.gz"


def _description(options: PhantomOptions, cases: int) -> dict[str, Any]:
    """What nnU-Net's dataset.json holds."""
    return {
        "name": "phantom",
        "description": "Random labelled CT-like patients, drawn by mim3d phantom; no real anatomy",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **structures(separate_kidneys=options.separate_kidneys)},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }


def _described(plan: Plan) -> tuple[str, ...]:
    return plan.phase, plan.disease


def _classified(plan: Plan) -> tuple[str, ...]:
    """Whether there is a burden of lesions, where, and when the scan was taken."""
    healthy = plan.disease == "healthy"
    return "no" if healthy else "yes", NONE if healthy else plan.disease, plan.phase


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """CSV of a row a patient, in the order of their numbers."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows((case_name(index), *row) for index, row in enumerate(rows))
    return table.getvalue()


def _write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    unfinished.write_text(text)
    os.replace(unfinished, path)
