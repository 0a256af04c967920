"""What scans are classified by: targets such as a disease, each with the class of a scan.

They come from columns `target:NAME` of a CSV that lists scans, from a targets.csv beside the scans, or from
the recipe of a data set. A scan to which several findings apply has their names, joined by `;`, as its class;
one to which none of them applies has the class `none`. What could tell who somebody is passes for no class.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NoReturn

from mim3d.data.csv_table import named_rows, read_csv
from mim3d.data.sources import DataSet, Source, Targets, safe_name
from mim3d.errors import DataError

TARGETS = "targets.csv"
"""Beside scans: a column `case` or `image`, and a column for each target."""
PREFIX = "target:"
"""How the names of such columns begin in a CSV that lists scans."""
SEVERAL = ";"
"""Joins the names of findings that apply to one scan."""
NONE = "none"
"""The class of a scan to which no finding applies."""
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,39}")
"""What targets and classes may be called."""
MOST_CLASSES = 100
"""Of one target."""
ALONE = 10
"""From so many scans on, as many classes as scans are no classes."""
NOT_TARGETS = ("patient", "label", "labels", "annotated", "split", "channel", "modality", "note")
"""Columns of a CSV that lists scans, which in a targets.csv are a mistake."""


def targets_text(targets: Targets) -> str:
    """As the catalog keeps them: JSON, nothing where there are none."""
    return json.dumps(dict(sorted(targets))) if targets else ""


@lru_cache(maxsize=4096)
def targets_of_text(text: str) -> Mapping[str, str]:
    """What `targets_text` wrote: target to class."""
    found: dict[str, str] = json.loads(text) if text else {}
    return found


def findings(value: str) -> frozenset[str]:
    """The findings that a class stands for: its names, none for `none`."""
    return frozenset(name.strip() for name in value.split(SEVERAL)) - {"", NONE}


def targets_of_row(where: str, row: Mapping[str, str]) -> Targets:
    """Targets of a row of a CSV that lists scans: its columns `target:NAME`, those left empty not among them.

    Raises:
        DataError: If a name or a class is no short word.
    """
    named = {column.removeprefix(PREFIX).strip(): row[column] for column in row if column.startswith(PREFIX)}
    return _checked(where, named)


def classes_of(texts: Iterable[str], target: str) -> dict[str, int]:
    """Classes of a target among what the catalog keeps of cases, and how many have each; by name."""
    counts: dict[str, int] = defaultdict(int)
    for text in texts:
        known = targets_of_text(text)
        if target in known:
            counts[known[target]] += 1
    return dict(sorted(counts.items()))


def names_of(texts: Iterable[str]) -> list[str]:
    """Targets that any case has, sorted."""
    return sorted({target for text in set(texts) for target in targets_of_text(text)})


def with_targets(data: DataSet, file: Path) -> DataSet:
    """The data set with the targets of a targets.csv, where there is such a file, added to its scans.

    Raises:
        DataError: If the file names scans that are not there, or contradicts what is stated already.
    """
    if not file.is_file():
        return data
    stated: dict[int, dict[str, str]] = defaultdict(dict)
    known = _places(data.sources)
    for where, named, targets in _rows(file):
        meant = [known[name, value] for name, value in named.items()]
        places = meant[0].intersection(*meant)
        if not places:
            _refuse_unknown(where, named, data.sources)
        for place in places:
            for target, found in targets:
                if stated[place].setdefault(target, found) != found:
                    raise DataError(f"{where}: {target} is {found} here, {stated[place][target]} before")
    sources = (
        replace(source, targets=_merged(file.name, source, stated.get(place, {})))
        for place, source in enumerate(data.sources)
    )
    return replace(data, sources=tuple(sources))


def require_classes(sources: Sequence[Source]) -> None:
    """Refuse targets whose values are no classes, but numbers, dates or names: they could tell who it is.

    Raises:
        DataError: If a target has very many classes, or as many as scans, or a class is the patient.
    """
    classes: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        for target, found in source.targets:
            classes[target].append(found)
            if source.patient is not None and found == source.patient:
                raise DataError(f"target {target}: a scan has its patient for a class; take the target out")
    for target, all_found in classes.items():
        count = len(set(all_found))
        if count > MOST_CLASSES or count == len(all_found) >= ALONE:
            raise DataError(
                f"target {target}: {count} classes in {len(all_found)} scans; classes that scans share are "
                f"needed, {MOST_CLASSES} at most: take the target out if it holds names, dates or numbers"
            )


_NAMING: Mapping[str, Callable[[str], str]] = {
    "case": safe_name,
    "image": lambda path: str(PurePosixPath(path)),
}
"""Columns that name a scan, and what makes values of them alike."""


def _rows(file: Path) -> Iterator[tuple[str, Mapping[str, str], Targets]]:
    """Where each row stands, what it says of which scan is meant, and its targets."""
    header, rows = read_csv(file)
    columns = [name for name in header if name not in _NAMING]
    if len(columns) == len(header) or not columns or "" in columns or len(set(header)) < len(header):
        raise DataError(
            f"{file.name}: columns are {', '.join(header) or 'none'}; `case` or `image` is needed, and a "
            "column of its own name for each target"
        )
    if strange := [name for name in columns if name in NOT_TARGETS]:
        raise DataError(
            f"{file.name}: column {strange[0]} is no target; a CSV that lists the scans may have it, with "
            f"targets in columns `{PREFIX}NAME`"
        )
    for number, row in enumerate(named_rows(header, rows), start=1):
        where = f"{file.name}, row {number}"
        named = {name: tidy(row[name]) for name, tidy in _NAMING.items() if row.get(name)}
        if not named:
            raise DataError(f"{where}: names no scan; give its `case` or its `image`")
        targets = {name.removeprefix(PREFIX).strip(): row.get(name, "") for name in columns}
        yield where, named, _checked(where, targets)


def _places(sources: Sequence[Source]) -> Mapping[tuple[str, str], set[int]]:
    """Which scans a case's name stands for, and a path: of the scan, or of a folder above it."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for place, source in enumerate(sources):
        if source.case is not None:
            found["case", source.case].add(place)
        path = PurePosixPath(source.key)
        for image in (path, *path.parents):
            found["image", str(image)].add(place)
    return found


def _refuse_unknown(where: str, named: Mapping[str, str], sources: Sequence[Source]) -> NoReturn:
    asked = ", ".join(f"{name} {value}" for name, value in named.items())
    known = next((source.case for source in sources if "case" in named and source.case), None)
    example = (
        f"the first case is {known}" if known else "an `image` is the path below the folder of the scans"
    )
    raise DataError(f"{where}: no scan is {asked}; {example}: mend the row, or take it out")


def _checked(where: str, named: Mapping[str, str]) -> Targets:
    """Targets that have a class, sorted."""
    for target, value in named.items():
        classes = [name.strip() for name in value.split(SEVERAL)] if value else []
        if NONE in classes and len(set(classes)) > 1:
            raise DataError(
                f"{where}: {target} is {value!r}; findings or `{NONE}` are needed, not both: mend the row"
            )
        words = [target, *classes]
        for word in words:
            if not WORD.fullmatch(word):
                raise DataError(
                    f"{where}: {word!r} names a target or a class; up to 40 letters, digits, spaces and "
                    "`_.+-` are needed"
                )
    return tuple(sorted((target, _joined(value)) for target, value in named.items() if value))


def _joined(value: str) -> str:
    """Several findings in one order."""
    return SEVERAL.join(sorted({name.strip() for name in value.split(SEVERAL)}))


def _merged(where: str, source: Source, more: Mapping[str, str]) -> Targets:
    """What is stated of a scan in two places."""
    before = dict(source.targets)
    for target in before.keys() & more.keys():
        if before[target] != more[target]:
            name = source.case or source.key
            raise DataError(f"{where}: {target} of {name} is {more[target]}, its list says {before[target]}")
    return tuple(sorted({**before, **more}.items()))
