"""Label maps to compare: which prediction belongs to which truth, and what the values of both mean.

Names of a prediction's values come from the JSON beside it, names of the truth's from its data set.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.dataset_json import DATASET, read_dataset_json
from mim3d.data.datasets import discover
from mim3d.data.grids import SAME_PLACE, corner_distance
from mim3d.data.labels import LARGEST_VALUE, LabelSet
from mim3d.data.listing import first_missing, has_images, read_label_sets
from mim3d.data.search import find_scans
from mim3d.data.sources import DataSet, Source, Split, read_json
from mim3d.data.volume import Volume, canonical, read_volume
from mim3d.errors import DataError, GeometryError

Values = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One case: two label maps, and what their values mean."""

    case: str
    """Name of the truth's file without its suffix."""
    predicted: Path
    """Label map."""
    truth: Path
    """Label map."""
    predicted_values: dict[str, Values]
    """Structure name to values in the prediction: several where others are painted over it."""
    truth_values: dict[str, Values]
    """Structure name to values in the truth."""
    annotated: tuple[str, ...] | None = None
    """Structures that were annotated in this case; None: all."""
    ignore: int | None = None
    """Value of the truth's voxels that are not to be scored, if there are such."""
    split: Split | None = None
    """Of the case, if its data set states one."""

    @property
    def shared(self) -> tuple[str, ...]:
        """Structures that both sides name."""
        return tuple(name for name in self.predicted_values if name in self.truth_values)


@dataclass(frozen=True, slots=True)
class Truth:
    """The data set that the true label maps belong to."""

    path: Path
    data: DataSet
    chosen: str | None = None
    """Label set that the user named."""

    def source(self, label: Path) -> Source | None:
        """The case with this label map, if the data set lists it."""
        listed = (one for one in self.data.sources if one.label is not None)
        return next((one for one in listed if one.label and one.label.resolve() == label.resolve()), None)

    def label_set(self, label: Path) -> LabelSet:
        """The label set of a label map: the one that the user named, else the case's, else the only one.

        Raises:
            DataError: If there is none, or several and nothing says which.
        """
        source, sets = self.source(label), self.data.label_sets
        listed = next(iter(sets)) if len(sets) == 1 else "not named"
        name = self.chosen or (source.labels if source else listed)
        if name not in sets:
            raise DataError(
                f"{self.path.name}: label set of {label.name} is {name}, known are "
                f"{', '.join(sorted(sets)) or 'none'}; name one at the end, {self.path.name}:SET"
            )
        return sets[name]


def read_truth(where: Path) -> Truth:
    """What true label maps mean, from a label_sets.json, dataset.json or cases.csv, or a folder with one.

    Args:
        where: The file or folder; `:SET` at its end names the label set. A cases.csv beside a label_sets.json
            says what was annotated in each case.

    Raises:
        DataError: If it is not there or broken.
    """
    path, chosen = where, None
    if not where.exists() and ":" in where.name:
        name, chosen = where.name.rsplit(":", 1)
        path = where.with_name(name)
    if not path.exists():
        raise DataError(f"{path}: not there; a label_sets.json, dataset.json or cases.csv is needed")
    if path.suffix == ".json" and path.name != DATASET:
        listing = path.with_name("cases.csv")
        sources = discover(listing).sources if has_images(listing) else ()
        return _complete(Truth(path, DataSet(sources, read_label_sets(path)), chosen))
    described = path / DATASET if path.is_dir() else path
    if described.name == DATASET and described.is_file():
        return Truth(path, read_dataset_json(described, labels_alone=True), chosen)
    return _complete(Truth(path, discover(path), chosen))


def _complete(truth: Truth) -> Truth:
    """The same, once all label maps are there: a mistyped one would not be found to belong to its case.

    Raises:
        DataError: If one is not there.
    """
    gone = first_missing(source.label for source in truth.data.sources)
    if gone is not None:
        raise DataError(f"{truth.path}: {gone.name} is listed, and not there; mend its path in the list")
    return truth


def find_pairs(predicted: Path, truth: Path, described: Truth | None = None) -> list[Pair]:
    """Two label maps, or all that bear the same name in two folders; where nothing names values, "1" is 1.

    Raises:
        DataError: If something is missing, only one is a folder, no file name is in both, or the values of
            some predictions are named and of others not.
    """
    pairs = []
    for case, ours, theirs in _matched(predicted, truth):
        named = predicted_structures(ours)
        pair = Pair(
            case=case, predicted=ours, truth=theirs, predicted_values=named or {}, truth_values=named or {}
        )
        pairs.append(pair if described is None else _described(pair, described))
    nameless = [pair for pair in pairs if not pair.predicted_values]
    if not nameless:
        return pairs
    if len(nameless) < len(pairs):
        file = nameless[0].predicted
        raise DataError(
            f"{file.name}: no {sidecar(file).name} beside it names its structures, as for others; add it, or "
            "leave this label map out"
        )
    found: dict[str, Values] = {
        str(value): (value,) for value in sorted({value for pair in pairs for value in _values(pair)})
    }
    return [replace(pair, predicted_values=found, truth_values=found) for pair in pairs]


def sidecar(labels: Path) -> Path:
    """Where the names and colours of a predicted label map lie: `case.json` beside `case.nii.gz`."""
    return labels.with_name(stem(labels) + ".json")


def stem(path: Path) -> str:
    """Name of a file without what says its format: `case` of case.nii.gz."""
    return Path(path.name.removesuffix(".gz")).stem


def predicted_structures(labels: Path) -> dict[str, Values] | None:
    """Structure name to values of a predicted label map, from the JSON beside it; None if there is none.

    Raises:
        DataError: If the JSON is not of the form that `predict` writes.
    """
    file = sidecar(labels)
    if not file.is_file():
        return None
    try:
        return {str(name): _listed(values) for name, values in read_json(file)["structures"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f'{file.name}: must hold {{"structures": {{name: value, or list of values}}}} ({error!r}); mend '
            "it, or move it away"
        ) from error


def _listed(said: Any) -> Values:
    """One value, or several."""
    values = tuple(int(value) for value in (said if isinstance(said, list) else [said]))
    if not values or min(values) < 1 or max(values) > LARGEST_VALUE:
        raise ValueError(f"values must lie in 1 to {LARGEST_VALUE}, got {said!r}")
    return values


def read_label_map(path: Path) -> Volume:
    """A label map, canonical, uint16.

    Raises:
        DataError: If it cannot be read, or holds other numbers than 0, 1, 2 ... 65535.
    """
    volume = canonical(read_volume(path))
    array = volume.array
    low, high = float(array.min()), float(array.max())
    whole = array.dtype.kind in "ui" or np.array_equal(array, np.rint(array))
    if low < 0 or high > LARGEST_VALUE or not whole:
        raise DataError(
            f"{path.name}: values from {low:g} to {high:g}, not all of them 0, 1, 2 ... {LARGEST_VALUE}; a "
            "label map is needed, not an image"
        )
    return replace(volume, array=array.astype(np.uint16, copy=False))


def values_in(labels: NDArray[np.uint16]) -> set[int]:
    """Values other than 0 in a label map (X, Y, Z)."""
    seen = np.zeros(1 + LARGEST_VALUE, dtype=bool)
    for plane in labels.T:  # a number that picks takes 8 bytes: not for the whole scan at once
        seen[plane] = True
    return {int(value) for value in np.flatnonzero(seen)} - {0}


def require_same_grid(pair: Pair, predicted: Volume, truth: Volume) -> None:
    """Raise unless the two label maps of a pair, both canonical, lie voxel on voxel.

    Raises:
        GeometryError: If their shapes or places differ.
    """
    if predicted.shape != truth.shape:
        raise GeometryError(
            f"{pair.predicted.name} has {predicted.shape} voxels, {pair.truth.name} {truth.shape}; both must "
            "lie on one grid: resample the prediction to the truth (nearest neighbour)"
        )
    apart = corner_distance(predicted.affine, truth.affine, truth.shape)
    if apart > max(1e-3, SAME_PLACE * min(truth.spacing)):
        raise GeometryError(
            f"{pair.predicted.name} lies up to {apart:.2f} mm off {pair.truth.name}; both must lie on one "
            "grid: give the truth of the scan that was segmented"
        )


def _matched(predicted: Path, truth: Path) -> list[tuple[str, Path, Path]]:
    for path in (predicted, truth):
        if not path.exists():
            raise DataError(
                f"{path}: no such file or folder; a label map or a folder of label maps is needed"
            )
    if predicted.is_file() and truth.is_file():
        return [(stem(truth), predicted, truth)]
    if predicted.is_file() or truth.is_file():
        file, folder = (predicted, truth) if predicted.is_file() else (truth, predicted)
        raise DataError(
            f"{file} is a file, {folder} a folder; two files or two folders of label maps are needed"
        )
    ours, theirs = _by_name(predicted), _by_name(truth)
    cases = sorted(ours.keys() & theirs.keys())
    if not cases:
        raise DataError(
            f"{predicted} ({len(ours)} label maps) and {truth} ({len(theirs)}) have no file name in common; "
            "name predictions like the truth"
        )
    return [(case, ours[case], theirs[case]) for case in cases]


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in find_scans(folder):
        if stem(path) in found:
            raise DataError(f"{folder}: {stem(path)} comes twice; give each label map a name of its own")
        found[stem(path)] = path
    return found


def _described(pair: Pair, truth: Truth) -> Pair:
    label_set, source = truth.label_set(pair.truth), truth.source(pair.truth)
    values: dict[str, Values] = {name: (value,) for name, value in label_set.structures.items()}
    return replace(
        pair,
        predicted_values=pair.predicted_values or values,
        truth_values=values,
        annotated=source.annotated if source else None,
        ignore=label_set.ignore,
        split=source.split if source else None,
    )


def _values(pair: Pair) -> set[int]:
    """Values other than 0 in both label maps."""
    return {value for path in (pair.predicted, pair.truth) for value in values_in(read_label_map(path).array)}
