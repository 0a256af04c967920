"""A run folder as it is on disk, read into frozen values: what the report is made from.

Only `config.json` is needed; everything else is shown when it is there.
"""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mim3d.errors import CheckpointError, ConfigError
from mim3d.metrics.evaluation import Evaluation
from mim3d.reporting.snapshots import (
    Reconstruction,
    Segmentation,
    read_reconstruction,
    read_segmentation,
    unreadable,
)
from mim3d.run_files import CONFIG, METRICS, PREPROCESSING, PROVENANCE, SCORES, TIMINGS
from mim3d.train.crossval_folder import is_crossval, read_members

Kind = Literal["pretrain", "finetune", "classify"]

TIMED = {"step", "seconds", "waiting"}
"""Columns of timings.csv."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segmented:
    """One validation or test of a run that segments."""

    file: str
    evaluation: Evaluation


@dataclass(frozen=True, kw_only=True, slots=True)
class Classified:
    """One validation or test of a classifier."""

    file: str
    split: str
    content: dict[str, Any]
    """As its JSON has it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """What a run folder holds."""

    name: str
    kind: Kind
    config: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    preprocessing: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Columns of metrics.csv; NaN where a step has no value."""
    timings: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Columns of timings.csv; times in seconds."""
    evaluations: tuple[Segmented, ...] = ()
    """Of a run that segments, validation first."""
    classifications: tuple[Classified, ...] = ()
    """Of a classifier, validation first."""
    members: tuple["Run", ...] = ()
    """Of a cross-validation."""
    looks: int = 0
    """How often the test split was looked at."""
    summary: dict[str, Any] = field(default_factory=dict)
    """Of a cross-validation: how much folds and seeds differ."""
    reconstruction: Reconstruction | None = None
    segmentation: Segmentation | None = None


def read_run(folder: Path) -> Run:
    """Everything a report shows of the run in `folder`.

    Raises:
        CheckpointError: If `folder` is no run folder, or a file in it cannot be read.
    """
    if not (folder / CONFIG).is_file():
        found = "has no config.json" if folder.is_dir() else "there is no such folder"
        raise CheckpointError(
            f"{folder}: not a run folder: {found}; "
            "name a folder written by `mim3d pretrain`, `mim3d finetune` or `mim3d crossval`"
        )
    config = read_json(folder / CONFIG)
    kind: Any = config.get("kind")
    if kind not in get_args(Kind):
        raise CheckpointError(
            f"{folder / 'config.json'}: kind is {kind!r}, must be one of {', '.join(get_args(Kind))}; "
            "name a run folder of this version of mim3d"
        )
    preprocessing = read_json(folder / PREPROCESSING)
    evaluations = sorted(folder.glob("evaluation*.json"), key=lambda file: file.stem)
    files = [folder / SCORES, *evaluations]  # evaluation-test before evaluation-test-each
    scores = [file for file in files if file.is_file()]
    members = read_members(folder) if is_crossval(folder) else ()
    return Run(
        name=folder.resolve().name,
        kind=kind,
        config=config,
        provenance=read_json(folder / PROVENANCE),
        preprocessing=preprocessing,
        metrics=read_metrics(folder / METRICS),
        timings=read_timings(folder / TIMINGS),
        evaluations=() if kind == "classify" else tuple(map(read_segmented, scores)),
        classifications=tuple(map(read_classified, scores)) if kind == "classify" else (),
        reconstruction=read_reconstruction(folder / "pictures" / "reconstruction.safetensors"),
        segmentation=_pictures(folder, preprocessing),
        members=tuple(read_run(one.run) for one in members if (one.run / CONFIG).is_file()),
        looks=_looks(folder),
        summary=read_json(folder / "summary.json"),
    )


def _looks(folder: Path) -> int:
    looks = read_json(folder / "looks.json").get("looks", [])
    return sum(isinstance(look, dict) and look.get("split") == "test" for look in looks)


def _pictures(folder: Path, preprocessing: dict[str, Any]) -> Segmentation | None:
    """Overlays of the test split, if it was looked at; else those of the validation."""
    files = [folder / "pictures" / f"segmentation{of}.safetensors" for of in ("-test", "")]
    found = (read_segmentation(file, preprocessing) for file in files)
    return next((one for one in found if one is not None), None)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise unreadable(file, error) from error
    if not isinstance(content, dict):
        raise unreadable(file, TypeError(f"a JSON object is needed, got {type(content).__name__}"))
    return content


def read_classified(file: Path) -> Classified:
    """What the JSON of a classifier holds."""
    content = read_json(file)
    return Classified(file=file.name, split=str(content.get("split") or ""), content=content)


def read_metrics(file: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a table, without a row cut short; empty if there is no such file or no row."""
    if not file.is_file():
        return {}
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.DictReader(lines) if None not in row.values()]
        names = list(rows[0]) if rows else []
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise unreadable(file, error) from error


def read_timings(file: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of timings.csv; empty if there is no such file or no row."""
    timings = read_metrics(file)
    if timings and not timings.keys() >= TIMED:
        raise unreadable(file, KeyError(*sorted(TIMED - timings.keys())))
    return timings


def number(value: Any) -> float | None:
    """A finite number, or None for what is none: missing, NaN or infinite."""
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def read_segmented(file: Path) -> Segmented:
    """The scores in a `validation.json` or `evaluation*.json`."""
    try:
        return Segmented(file=file.name, evaluation=Evaluation.from_json(read_json(file), file.name))
    except ConfigError as error:
        raise unreadable(file, error) from error
