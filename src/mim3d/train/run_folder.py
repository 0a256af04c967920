"""A run folder: what was asked, where it came from, how it went.

RUN/config.json provenance.json preprocessing.json metrics.csv timings.csv checkpoints/step-N/
weights.safetensors
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
from mim3d.run_files import BEST, CHECKPOINTS, CONFIG, METRICS, SCORES, TIMINGS, WEIGHTS
from mim3d.train.checkpoint import latest_checkpoint

RESULTS = (METRICS, TIMINGS, WEIGHTS, BEST)
"""Files of a run folder that say how it went; a run that begins anew begins without them and scores."""
OF_WEIGHTS = ("evaluation*.json", "summary*.json", "pictures/segmentation*.safetensors")
"""What is known of weights beside `SCORES`."""


def open_run(run: Path, *, resume: bool) -> Path | None:
    """What a run folder, which may not exist yet, has to go on with; nothing is written.

    Returns:
        The checkpoint to resume from; None if the run has to begin.

    Raises:
        CheckpointError: If it holds a checkpoint and `resume` was not asked for, or imported weights, or is
            something else.
    """
    if run.exists() and not run.is_dir():
        raise CheckpointError(f"{run}: a file, where a run folder is needed; name a new folder")
    held = [path.name for path in run.iterdir() if not path.name.startswith(".")] if run.exists() else []
    if held and CONFIG not in held:
        raise CheckpointError(
            f"{run}: holds {min(held)} and no config.json, so it is no run folder; name a new or empty folder"
        )
    if WEIGHTS in held and METRICS not in held:  # a run would begin by deleting them
        raise CheckpointError(f"{run}: holds imported weights, which no run goes on from; name a new folder")
    checkpoint = latest_checkpoint(run)
    if checkpoint is not None and not resume:
        raise CheckpointError(
            f"{run}: holds {checkpoint.name} of an earlier run; add --resume to go on, or name a new folder"
        )
    return checkpoint


def is_unfinished(run: Path) -> bool:
    """Whether a run of fine-tuning has checkpoints, but no scores yet: its weights are the best so far."""
    return (run / CHECKPOINTS).is_dir() and not (run / SCORES).exists()


def make_run(run: Path) -> None:
    """Make a run folder, or clear one whose run died before its first checkpoint of what it left.

    Raises:
        CheckpointError: If the folder cannot be made.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{run}: cannot be made ({error.strerror}); name another folder") from None
    for name in RESULTS:
        (run / name).unlink(missing_ok=True)
    forget_scores(run)


def forget_scores(folder: Path) -> list[str]:
    """Delete the scores of weights that are learnt on; gives the names of those that were asked for.

    Args:
        folder: Of a run, or of a cross-validation.
    """
    (folder / SCORES).unlink(missing_ok=True)
    found = sorted(path for pattern in OF_WEIGHTS for path in folder.glob(pattern))
    for path in found:
        path.unlink()
    return [path.name for path in found if path.suffix == ".json"]


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(json.dumps(values, indent=1) + "\n")
    aside.rename(path)


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote into a run folder.

    Raises:
        CheckpointError: If there is no such file, or it is damaged.
    """
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: has no {path.name}; copy the run folder as a whole") from None
    except (ValueError, TypeError):
        raise CheckpointError(f"{path}: damaged, not the JSON of a run; copy the run folder again") from None


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


class StepTable:
    """RUN/metrics.csv or timings.csv: a row a step, in step with the checkpoint that a run resumes from."""

    def __init__(self, path: Path, columns: list[str], step: int) -> None:
        self.path, self.columns = path, columns
        kept = [row for row in read_metrics(path) if int(row["step"]) <= step]
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
    """The rows of a metrics file, without a last one that was cut short; none if there is no file."""
    text = path.read_text() if path.exists() else ""
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
