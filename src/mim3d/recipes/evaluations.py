"""Evaluations that runs hold, read back as sides of a comparison."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mim3d.errors import CheckpointError, ConfigError
from mim3d.metrics.comparable import shared_by
from mim3d.metrics.comparison import Side
from mim3d.metrics.evaluation import Evaluation
from mim3d.metrics.pooled import joined
from mim3d.run_files import SCORES
from mim3d.train.run_folder import read_json

EVALUATIONS = ("evaluation-test.json", "evaluation.json", SCORES)
"""What a run may hold; first what chose nothing, last the cases that chose its best step."""


def read_evaluation(file: Path) -> Evaluation:
    """An evaluation from its JSON.

    Raises:
        CheckpointError: If there is no such file, or it holds something else.
    """
    try:
        return Evaluation.from_json(read_json(file), file.name)
    except ConfigError as error:
        raise CheckpointError(f"{file}: no scores of structures by case ({error}); score it again") from error


def find_files(runs: Sequence[Path], file: str | None) -> tuple[str, dict[str, list[Path]]]:
    """What the files of the scores are called, joined by commas, and which they are, by each side's name.

    Args:
        runs: Run folders, JSON files of evaluations, or several of either joined by commas: one side.
        file: Name of the file within the folders; None: the first of `EVALUATIONS` that all have.

    Raises:
        CheckpointError: If there is no such file.
    """
    sides = [_parted(run) for run in runs]
    folders = [path for side in sides for path in side if not path.is_file()]
    known = EVALUATIONS if file is None else (file,)
    chosen = next((name for name in known if all((folder / name).is_file() for folder in folders)), None)
    for folder in folders:
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: no such file or folder; name a run, or a JSON of `evaluate`")
    if chosen is None:
        held = (", ".join(name for name in known if (one / name).is_file()) or "none" for one in folders)
        each = "; ".join(f"{folder}: {names}" for folder, names in zip(folders, held, strict=True))
        raise CheckpointError(
            f"none of {', '.join(known)} is in all of the folders ({each}); finish or score the runs"
        )
    names = _names([side[0] for side in sides])
    files = [[path if path.is_file() else path / chosen for path in side] for side in sides]
    _refuse_twice([file for side in files for file in side])
    called = dict.fromkeys(path.name for side in files for path in side)
    return ", ".join(called), dict(zip(names, files, strict=True))


def read_side(name: str, files: Sequence[Path]) -> Side:
    """What the runs of one side hold.

    Raises:
        CheckpointError: If a file holds something else.
        DataError: If the runs were not scored on the same.
    """
    found = [read_evaluation(file) for file in files]
    if len(found) > 1:
        sides = [Side(name=str(file), evaluation=one) for file, one in zip(files, found, strict=True)]
        shared_by(sides, shared=False)
    evaluation = joined(found)
    rows = max(Counter(case.case for case in evaluation.cases).values(), default=1)
    return Side(name=name, evaluation=evaluation, runs=rows)


def _parted(run: Path) -> list[Path]:
    """The paths that a word names: itself, or several joined by commas."""
    return [run] if run.exists() or "," not in str(run) else [Path(part) for part in str(run).split(",")]


def _refuse_twice(files: Sequence[Path]) -> None:
    """Refuse scores that are named twice: they would count twice, or be compared with themselves.

    Raises:
        ConfigError: If there are such.
    """
    counts = Counter(file.resolve() for file in files)
    twice = [file for file in files if counts[file.resolve()] > 1]
    if twice:
        raise ConfigError(f"{twice[0]}: named twice; name each run once")


def _names(places: Sequence[Path]) -> list[str]:
    """A name of its own for each: with that of the folder around it, or a number, where needed.

    A file of scores is called by its own name, or by its folder's where it is called as all are.
    """
    named = [_named(place.resolve()) for place in places]
    names = [one.name for one in named]
    if len(set(names)) < len(names):
        names = [f"{one.parent.name}/{one.name}" for one in named]
    counts = Counter(names)
    return [
        f"{name} ({names[: number + 1].count(name)})" if counts[name] > 1 else name
        for number, name in enumerate(names)
    ]


def _named(place: Path) -> Path:
    """What a side is called by: its folder, or its own file where that is called as no run's scores are."""
    if not place.is_file():
        return place
    return place.parent if place.name in EVALUATIONS else place.with_suffix("")
