"""A run folder: what was asked, where it came from, how it went.

RUN/config.json provenance.json preprocessing.json metrics.csv checkpoints/step-N/ weights.safetensors
"""

import csv
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mim3d import __version__
from mim3d.errors import CheckpointError
from mim3d.train.checkpoint import latest_checkpoint


def open_run(run: Path, *, resume: bool) -> Path | None:
    """Make a run folder, or go on with one.

    Returns:
        The checkpoint to resume from; None if the run has to begin.

    Raises:
        CheckpointError: If it holds a checkpoint and `resume` was not asked for, or is something else.
    """
    if run.is_file():
        raise CheckpointError(f"{run}: a file, where a run folder is needed; name a new folder")
    if run.is_dir() and any(run.iterdir()) and not (run / "config.json").exists():
        raise CheckpointError(
            f"{run}: holds other files and no config.json, so it is no run; name a new folder"
        )
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = latest_checkpoint(run)
    if checkpoint is not None and not resume:
        raise CheckpointError(
            f"{run}: holds {checkpoint.name} of an earlier run; add --resume to go on, or name a new folder"
        )
    return checkpoint


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(json.dumps(values, indent=1) + "\n")
    aside.rename(path)


def provenance(command: str, seed: int, catalog_hash: str) -> dict[str, Any]:
    """Where a run came from: version, seed, data, machine and threads."""
    return {
        "mim3d": __version__,
        "command": command,
        "seed": seed,
        "catalog": catalog_hash,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
    }


class MetricsFile:
    """RUN/metrics.csv: a row a step, kept in step with the checkpoint that a run resumes from."""

    def __init__(self, path: Path, columns: list[str], step: int) -> None:
        self.path, self.columns = path, columns
        kept = [row for row in read_metrics(path) if int(row["step"]) <= step] if path.exists() else []
        aside = path.with_name(f".{path.name}.partial")
        with aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)
        aside.rename(path)

    def append(self, values: dict[str, float | int]) -> None:
        """Add a row; a column without a value stays empty."""
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(values)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics file, without one that was cut short."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["step"] and None not in row.values()]
