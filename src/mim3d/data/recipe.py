"""Recipes: what is known of a public data set, a JSON file each, and nothing that is not in the file.

Where a fact could not be looked up, its section says `"verified": false`; nothing is guessed.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mim3d.config_file import build
from mim3d.data.labels import LabelSet
from mim3d.data.sources import Split, Targets
from mim3d.errors import ConfigError, MimError
from mim3d.geometry import Triple, Vector

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """Something that the data set's site or the archive says of itself."""

    text: str
    verified: bool
    """Whether it was looked up, in `source`."""
    source: str = ""
    """Where it was looked up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """Where the data set is had."""

    place: str
    address: str
    files: tuple[str, ...] = ()
    """Names of the archives to fetch, patterns of names where there are many."""
    steps: tuple[str, ...]
    """What to do, in order, until RAW is there."""
    verified: bool
    source: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scans:
    """How many of its scans the paper's release lists, for the leakage that readers ask about."""

    pretraining: int | None = None
    downstream: int | None = None
    source: str = "lists of the paper's release"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Scans that lie together. `{case}` and `{patient}` in a pattern stand for one name, `*` for any."""

    images: str
    """Pattern of their paths below the root; a folder for each DICOM series where `series` is set."""
    labels: str | None = None
    """Path of the label map of a scan; with `/` at its end the folder of a mask file for each structure."""
    case: str | None = "{case}"
    """Name of the case; null where names are UIDs: then it gets a keyed hash."""
    only: str | None = None
    """Regular expression of the paths that belong to the data set; others are left alone."""
    patient: str | None = None
    """Regular expression on the path whose group 1 is the patient; by default each case is one."""
    split: Split | None = None
    """Where the archive itself says which split they are."""
    scans: int | None = None
    """How many there should be."""
    patients: int | None = None
    """How many different `{patient}` there should be."""
    prepared: bool = True
    """Whether they are prepared; others are not even missed."""
    series: bool = False
    """Whether they are folders of DICOM files."""
    targets: dict[str, str] = field(default_factory=dict)
    """What they are classified by, where that shows in their place: target to class."""

    @property
    def teaching(self) -> bool:
        """Whether they have labels or classes, and so are divided into splits."""
        return self.labels is not None or bool(self.targets)

    @property
    def classified(self) -> Targets:
        """Their targets, as each of them has them."""
        return tuple(sorted(self.targets.items()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One way in which the data set arrives."""

    name: str
    roots: tuple[str, ...] = ()
    """Patterns of the folders below RAW that the paths may start from; RAW itself is always tried."""
    parts: tuple[Part, ...]
    verified: bool
    source: str = ""
    not_prepared: str | None = None
    """Why `prepare` cannot read it as it then is, where it cannot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Structures:
    """What the values of its label maps mean."""

    set: str
    """Name of the label set in the store."""
    structures: dict[str, int]
    ignore: int | None = None
    verified: bool
    source: str = ""

    @property
    def label_set(self) -> LabelSet:
        """As a store keeps it."""
        return LabelSet(self.set, self.structures, ignore=self.ignore)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of the archive that states the split of each case."""

    file: str
    case: str
    """Column with `{case}`."""
    split: str
    """Column with train, val or test."""
    separator: str = ","


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """How labelled patients are divided; see `arrangement.py`."""

    seed: int
    """Of every draw."""
    folds: int = 0
    """Parts that what is not test is dealt into, for cross-validation."""
    test: int = 0
    """Patients drawn for the sealed test split."""
    test_cases: tuple[str, ...] = ()
    """`{case}` of the sealed test split, where the field has agreed on it."""
    few_shot: tuple[str, ...] = ()
    """Patients that keep their labels: a number, or a share of those to train on such as 25%."""
    table: Table | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A public data set."""

    name: str
    title: str
    stages: tuple[Literal["pre-training", "downstream"], ...]
    """What the paper uses it for."""
    task: Literal["segmentation", "classification", "none"]
    modality: Literal["CT", "MR"]
    body: str
    """Part of the body."""
    archive: Archive
    licence: Stated
    scans: Scans
    layouts: tuple[Layout, ...]
    """Tried in this order."""
    labels: Structures | None = None
    classes: tuple[str, ...] = ()
    """Of a classification."""
    channels: tuple[str, ...] = ()
    """Of a scan, where there are several."""
    spacing: Vector | None = None
    """Of the working grid, mm."""
    window: tuple[float, float] | None = None
    """Intensities told apart, HU."""
    scaling: str = "window"
    """How intensities are scaled: `window`, `min-max`, or what the paper says in words."""
    crop: Triple | None = None
    """What the network sees at once, voxels."""
    augmentation: dict[str, float] = field(default_factory=dict)
    """Probabilities in the paper's release."""
    splits: Splits | None = None
    overlaps: tuple[str, ...] = ()
    """Other public sets with some of the same patients."""
    notes: tuple[str, ...] = ()

    @property
    def num_scans(self) -> int | None:
        """Scans that the archive should give, None where some number is not known."""
        counts = [part.scans for part in self.layouts[0].parts if part.prepared]
        return None if None in counts else sum(filter(None, counts))


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with mim3d."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def load_recipe(name: str) -> Recipe:
    """The recipe of a name, in capitals or not, or of a JSON file.

    Raises:
        ConfigError: If there is no such recipe, or the file has something that a recipe does not have.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name.lower()}.json"
    if not path.is_file():
        known = ", ".join(recipe_names())
        what = "file" if name.endswith(".json") else "recipe"
        raise ConfigError(f"recipe {name}: no such {what}; there are {known}, or give a .json of your own")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path.name}: not readable as JSON ({error}); mend the file") from error
    recipe: Recipe = build(Recipe, content, path.name)
    _check(recipe, path)
    return recipe


def _check(recipe: Recipe, path: Path) -> None:
    """Raise if a recipe contradicts itself, which its types cannot tell."""
    parts = [part for layout in recipe.layouts for part in layout.parts]
    if recipe.name != path.stem or not parts:
        raise ConfigError(
            f"{path.name}: name {recipe.name!r} and {len(parts)} parts; the file's own name, {path.stem!r}, "
            "and at least one part are needed"
        )
    if any(part.labels for part in parts) and None in (recipe.labels, recipe.splits):
        raise ConfigError(
            f"{path.name}: parts have labels, so `labels` must say what their values mean and `splits` how "
            "patients are divided; add both"
        )
    named = {found for part in parts for found in part.targets.values()}
    if named and (not named <= set(recipe.classes) or recipe.splits is None):
        raise ConfigError(
            f"{path.name}: parts are classified as {', '.join(sorted(named))}, so `classes` must name these "
            "and `splits` say how patients are divided; add both"
        )
    for part in parts:
        _check_expressions(part, path)
    try:
        _ = recipe.labels and recipe.labels.label_set
    except MimError as error:
        raise ConfigError(f"{path.name}: {error}") from error


def _check_expressions(part: Part, path: Path) -> None:
    for expression, groups in ((part.only, 0), (part.patient, 1)):
        try:
            good = expression is None or re.compile(expression).groups >= groups
        except re.error:
            good = False
        if not good:
            raise ConfigError(
                f"{path.name}: {expression!r} is no regular expression with {groups} groups; mend it"
            )
