"""Whether a folder holds what a recipe says, told before anything is prepared; and its scans, if it does."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mim3d.data.arrangement import Member, arrange, folds_of
from mim3d.data.datasets import loose
from mim3d.data.groups import Supervision
from mim3d.data.recipe import Part, Recipe, Table, load_recipe
from mim3d.data.recipe_files import Found, Laid, Scan, best_layout
from mim3d.data.sources import SPLITS, DataSet, Source, Split, require_unique, safe_name
from mim3d.errors import ConfigError, DataError

MOST_NAMED = 5
"""Cases that a message names."""
PACKED = (".zip", ".tar", ".gz", ".7z", ".tgz")


@dataclass(frozen=True, slots=True)
class Checked:
    """What is there, and what is not."""

    laid: Laid
    missing: tuple[str, ...]
    """What must be there before anything can be prepared."""
    differing: tuple[str, ...]
    """Numbers that are not those of the recipe."""


def named_recipe(name: str) -> tuple[Recipe, str | None]:
    """The recipe and the arrangement that `btcv:fold-2` names, the latter None where it names none.

    Raises:
        ConfigError: If there is no such recipe.
    """
    recipe, colon, arrangement = name.partition(":") if not Path(name).is_file() else (name, "", "")
    return load_recipe(recipe), arrangement if colon else None


def check(recipe: Recipe, raw: Path) -> Checked:
    """What a folder holds of a recipe's data set, and what it lacks; only names are read.

    Raises:
        DataError: If the folder is not there, or `prepare` cannot read what the data set comes as.
    """
    if not raw.is_dir():
        raise DataError(f"{raw}: no such folder; `mim3d datasets {recipe.name}` says how to get the data set")
    laid = best_layout(recipe, raw)
    if not laid.num_parts:
        return Checked(laid, (_nothing(recipe, raw),), ())
    if laid.layout.not_prepared is not None:
        why = f"{laid.layout.name}: {laid.layout.not_prepared}"
        raise DataError(f"recipe {recipe.name} cannot be prepared {why}")
    missing = [line for found in laid.parts if found.part.prepared for line in _missing(recipe, found)]
    differing = [line for found in laid.parts if found.part.prepared for line in _differing(found)]
    return Checked(laid, (*missing, *_missing_table(recipe, laid)), tuple(differing))


def read_recipe(
    recipe: Recipe, raw: Path, arrangement: str | None = None, supervision: Supervision | None = None
) -> tuple[DataSet, tuple[str, ...]]:
    """Scans, labels and splits of a folder as its recipe has them; and which expected numbers differ.

    Args:
        recipe: Of the data set.
        raw: The folder that it was unpacked into.
        arrangement: See `arrangement.arrangements`.
        supervision: Who reads headers of DICOM; None: this process, with nobody watching.

    Raises:
        ConfigError: If there is no such arrangement, or there are too few patients for it.
        DataError: If something is missing.
    """
    checked = check(recipe, raw)
    if checked.missing:
        raise DataError(
            f"{raw}: not the whole of {recipe.name}: {'; '.join(checked.missing)}. `mim3d datasets "
            f"{recipe.name}` says how to get it"
        )
    divided, root = _divided(recipe, checked.laid, arrangement), checked.laid.root
    sources = [
        source
        for found in checked.laid.parts
        if found.part.prepared
        for source in (
            _series(recipe, root, found, supervision)
            if found.part.series
            else (_source(recipe, root, found.part, scan, divided) for scan in found.scans)
        )
    ]
    if not sources:
        raise DataError(
            f"{raw}: the folders of {recipe.name} are there, but no scan is in them; get it again"
        )
    label_sets = {} if recipe.labels is None else {recipe.labels.set: recipe.labels.label_set}
    return DataSet(require_unique(recipe.name, sources), label_sets), checked.differing


def _nothing(recipe: Recipe, raw: Path) -> str:
    """What is missing where no layout has found anything."""
    packed = sorted(path.name for path in raw.iterdir() if path.suffix.lower() in PACKED)
    ours = [name for name in packed if any(Path(name).match(known) for known in recipe.archive.files)]
    if ours:
        return f"{', '.join(ours[:MOST_NAMED])} is still packed: unpack it there"
    ways = [", ".join(_pattern(part) for part in one.parts if part.prepared) for one in recipe.layouts]
    roots = sorted({root for layout in recipe.layouts for root in layout.roots})
    below = f" (in it, or in its folder {' or '.join(roots)})" if roots else ""
    return f"nothing lies where it should, {' or else '.join(ways)}{below}"


def _pattern(part: Part) -> str:
    return part.images + (f" with {part.labels}" if part.labels else "")


def _missing(recipe: Recipe, found: Found) -> Iterator[str]:
    part = found.part
    if not found.scans:
        expected = f" of the {part.scans} scans" if part.scans is not None else ""
        yield f"{part.images}: none{expected} is there"
    bare = [scan for scan in found.scans if part.labels is not None and not scan.labelled]
    if bare:
        yield (f"{part.labels}: {len(bare)} of {len(found.scans)} scans have no labels: {_names(bare)}")
    for scan in found.scans[:1]:
        known = recipe.labels.structures if recipe.labels is not None else {}
        strange = sorted(scan.masks.keys() - known)
        if strange:
            yield (
                f"{part.labels} holds {', '.join(strange[:MOST_NAMED])}, which the recipe does not name: "
                "this is another version of the data set"
            )


def _names(scans: list[Scan]) -> str:
    """Names of a few of them; the rest is counted."""
    names = [scan.fields.get("case") or scan.image.name for scan in scans[:MOST_NAMED]]
    more = len(scans) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _differing(found: Found) -> Iterator[str]:
    part, count = found.part, len(found.scans)
    if part.scans is not None and count and count != part.scans and not part.series:
        yield f"{part.images}: {count} scans, {part.scans} expected"
    patients = len({scan.fields.get("patient") for scan in found.scans})
    if part.patients is not None and count and patients != part.patients:
        yield f"{part.images}: {patients} patients, {part.patients} expected"


def _missing_table(recipe: Recipe, laid: Laid) -> Iterator[str]:
    table = recipe.splits.table if recipe.splits is not None else None
    if table is not None and not (laid.root / table.file).is_file():
        yield f"{table.file}: not there; it states the split of each case"


class Divided(NamedTuple):
    """How patients with labels or classes are divided."""

    splits: dict[str, Split | None]
    """None: their labels are withheld."""
    folds: dict[str, int]
    """Of those who are dealt into folds."""


def _divided(recipe: Recipe, laid: Laid, arrangement: str | None) -> Divided:
    """Split and fold of each patient with labels or classes."""
    if recipe.splits is None:
        if arrangement is not None:
            raise ConfigError(
                f"recipe {recipe.name}:{arrangement}: it has no labels to divide; name it as {recipe.name}"
            )
        return Divided({}, {})
    table = recipe.splits.table
    stated = {} if table is None else _stated(laid.root / table.file, table)
    members = [
        Member(
            case=scan.fields["case"],
            patient=_patient(found.part, laid.root, scan) or scan.fields["case"],
            stated=stated.get(scan.fields["case"], found.part.split),
        )
        for found in laid.parts
        if found.part.prepared and found.part.teaching
        for scan in found.scans
    ]
    splits = arrange(recipe.splits, members, arrangement)
    return Divided(splits, folds_of(recipe.splits, members))


def _stated(path: Path, table: Table) -> dict[str, Split]:
    """Split of each case, as the data set's own table has it."""
    known: dict[str, Split] = {split: split for split in SPLITS}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter=table.separator))
    if not rows or not {table.case, table.split} <= rows[0].keys():
        raise DataError(f"{table.file}: columns {table.case} and {table.split} are needed; get it again")
    return {row[table.case]: known[row[table.split]] for row in rows if row[table.split] in known}


def _patient(part: Part, root: Path, scan: Scan) -> str | None:
    """Identifier of the patient, None where the case stands for one."""
    if part.patient is None:
        return None
    match = re.search(part.patient, scan.image.relative_to(root).as_posix())
    return match.group(1) if match else None


def _source(recipe: Recipe, root: Path, part: Part, scan: Scan, divided: Divided) -> Source:
    case = None if part.case is None else safe_name(f"{recipe.name}_{part.case.format(**scan.fields)}")
    patient = _patient(part, root, scan)
    named = patient or scan.fields.get("case", "")
    splits = divided.splits
    withheld = splits.get(named) is None
    shown = None if withheld else scan.label
    return Source(
        image=scan.image,
        key=f"{recipe.name}/{scan.image.relative_to(root).as_posix()}",
        case=case,
        patient=patient,
        split="train" if named in splits and withheld else splits.get(named),
        label=shown,
        labels=recipe.labels.set if recipe.labels is not None else "labels",
        annotated=tuple(sorted(scan.masks)) or None if shown is not None else None,
        channel="all" if len(recipe.channels) > 1 else None,
        channels=recipe.channels,
        modalities=(recipe.modality,),
        targets=() if withheld else part.classified,
        fold=None if withheld else divided.folds.get(named),
    )


def _series(recipe: Recipe, root: Path, found: Found, supervision: Supervision | None) -> Iterator[Source]:
    """What folders of DICOM files hold; nothing of those that hold outlines and the like only."""
    folders = [scan.image for scan in found.scans]
    for source in loose(root, folders, supervision=supervision):
        yield replace(source, key=f"{recipe.name}/{source.key}", targets=found.part.classified)
