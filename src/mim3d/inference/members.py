"""The runs that make a prediction together: which they are, whether they agree, what identifies them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mim3d.config import Augmentation
from mim3d.data.seal import file_hash
from mim3d.errors import ConfigError, worded
from mim3d.run_files import WEIGHTS
from mim3d.sampling.augment import symmetry_of
from mim3d.train.crossval_folder import finished_members, is_crossval


def runs_of(run: Path) -> list[Path]:
    """The runs that a folder stands for: itself, or those on several folds in it.

    Raises:
        CheckpointError: If there are none, or one is unfinished.
    """
    return [one.run for one in finished_members(run)] if is_crossval(run) else [run]


def refuse_twice(runs: Sequence[Path]) -> None:
    """Refuse a run that is named twice: it would count twice in the mean.

    Raises:
        ConfigError: If there is one.
    """
    places = [run.resolve() for run in runs]
    for number, (run, place) in enumerate(zip(runs, places, strict=True)):
        if place in places[:number]:
            raise ConfigError(f"{run}: named twice, and would count twice in the mean; name it once")


def require_agreement(runs: Sequence[Path], said: Sequence[Mapping[str, object]]) -> None:
    """Refuse runs whose probabilities cannot be averaged.

    Args:
        runs: Folders.
        said: By each run, under the same names.

    Raises:
        ConfigError: If one says something else than the first.
    """
    for run, theirs in zip(runs, said, strict=True):
        for what, ours in said[0].items():
            if theirs[what] != ours:
                raise ConfigError(
                    f"{run}: {what} is {worded(theirs[what])}, but {worded(ours)} in {runs[0]}; runs whose "
                    "probabilities are averaged must agree"
                )


def weight_hashes(runs: Sequence[Path]) -> tuple[str, ...]:
    """SHA-256 of the weights of each."""
    return tuple(file_hash(run / WEIGHTS) for run in runs)


def mirrored_along(
    runs: Sequence[Path], augmentations: Sequence[Augmentation], structures: tuple[str, ...]
) -> tuple[int, ...]:
    """Axes that crops of all runs were mirrored along in training.

    Args:
        runs: Folders.
        augmentations: Of each.
        structures: That all of them segment; none of classifiers.

    Raises:
        ConfigError: If one was trained without mirroring.
    """
    for run, augmentation in zip(runs, augmentations, strict=True):
        if augmentation.flip == 0:
            raise ConfigError(
                f"{run}: was trained without mirroring (augmentation.flip 0); leave --flips out"
            )
    return symmetry_of(structures, (1, 1, 1), (1.0, 1.0, 1.0)).axes  # sizes say nothing of axes
