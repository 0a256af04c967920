"""`mim3d compare`: runs that were scored on the same cases, pair by pair, and what so many cases can tell."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from mim3d.config.structures import listed
from mim3d.data.catalog import Case
from mim3d.data.place import Place, name_at
from mim3d.data.store import Store, open_store
from mim3d.data.targets import targets_of_text
from mim3d.errors import ConfigError, DataError
from mim3d.metrics.comparable import Shared, shared_by
from mim3d.metrics.comparison import MEASURES, Compared, Side, compare_sides
from mim3d.metrics.statistics import RESAMPLES
from mim3d.metrics.subgroups import COLUMNS, Subgroup, subgroups
from mim3d.recipes.evaluations import find_files, read_side
from mim3d.recipes.messages import say
from mim3d.reporting.class_sides import (
    compare_class_sides,
    is_classification,
    read_class_side,
)
from mim3d.reporting.comparison_tables import (
    as_csv,
    class_csv,
    class_rows,
    class_table,
    comparison_table,
    subgroup_table,
)
from mim3d.reporting.template import write_whole
from mim3d.reporting.text_table import TextTable, in_markdown, print_table
from mim3d.train.run_folder import write_json

DEFAULT_MEASURES = ("dice", "nsd", "hd95_mm")
CHOSE = (
    "these cases chose the best steps of the runs, so all scores are a little too good; compare on a test "
    "split (`mim3d score`) before you believe a difference"
)


def compare(  # noqa: PLR0913  one argument a flag of the command
    run: Path,
    /,
    *more: Positional[Path],
    file: str | None = None,
    measures: str | None = None,
    structures: str | None = None,
    shared: bool = False,
    by: str | None = None,
    store: Place | str | None = None,
    out: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare runs case by case: paired differences, intervals, tests, and on how many cases they rest.

    Args:
        run: The reference: a run folder, a folder of `crossval`, or a JSON of `evaluate`; runs that differ in
            their seed alone, joined by commas, are averaged case by case.
        more: What is compared with it, each likewise.
        file: Which scores of the folders, e.g. validation.json; by default the first that all have of
            evaluation-test.json, evaluation.json and validation.json.
        measures: Joined by commas: dice, nsd, hd95_mm, volume_error_ml, lesions_found, false_lesions; by
            default the first three, and the last two where lesions were counted.
        structures: Joined by commas; by default all.
        shared: Leave out cases and structures that were not scored alike in all of them.
        by: What to group cases by, joined by commas: columns of the store's catalog, or its targets, e.g.
            scanner,thickness,disease.
        store: The store of the cases, its folder or URL, for `by`.
        out: Folder to write: comparison.md, comparison.csv, comparison.json.
        seed: Of resampling and random flips.

    Returns:
        What comparison.json holds.

    Raises:
        MimError: If a run is not scored, or they were scored on different things.
    """
    _require_enough(more, by, store)
    chosen, files = find_files((run, *more), file)
    if _classify(files):
        return _of_classes(chosen, files, out, by, seed, shared=shared)
    sides = [read_side(name, side) for name, side in files.items()]
    named = None if structures is None else listed((structures,))
    common = shared_by(sides, shared=shared, structures=named)
    notes = [*common.notes, *_said(sides, chosen)]
    asked = _measures(measures, sides)
    found = [one for name in asked for one in _compared(sides, name, common, seed)]
    groups: tuple[Subgroup, ...] = ()
    if by is not None and store is not None:
        opened = open_store(store)
        facts = _facts(opened, common.cases)
        missing = [name for name in common.cases if name not in facts]
        notes += [f"{name} is not in {name_at(opened.path)}: in no group" for name in missing]
        groups = subgroups(sides, asked[0], common.structures, facts, listed((by,)), seed)
    tables = [comparison_table(one) for one in found]
    if groups:
        tables.append(subgroup_table(groups, sides, asked[0]))
    _show(tables, notes)
    content = _content(sides, chosen, found, groups, notes, seed)
    if out is not None:
        _write(out, tables, as_csv(found), content)
    return content


def _classify(files: dict[str, list[Path]]) -> bool:
    """Whether the runs classify; scores of both kinds cannot be compared.

    Raises:
        DataError: If some do and others segment.
    """
    kinds = {name: {is_classification(one) for one in side} for name, side in files.items()}
    if len(set().union(*kinds.values())) > 1:
        told = (f"{name} {'classifies' if True in kind else 'segments'}" for name, kind in kinds.items())
        raise DataError(f"{', '.join(told)}: scores of both cannot be compared; name runs of one kind")
    return any(True in kind for kind in kinds.values())


def _of_classes(
    chosen: str, files: dict[str, list[Path]], out: Path | None, by: str | None, seed: int, *, shared: bool
) -> dict[str, Any]:
    """The same for runs of classification."""
    if by is not None:
        raise ConfigError("cases of classification cannot be grouped yet; leave --by and --store out")
    sides = [read_class_side(name, side) for name, side in files.items()]
    found, notes = compare_class_sides(sides, shared=shared, seed=seed)
    if "validation.json" in chosen or any(side.split == "val" for side in sides):
        notes.append(CHOSE)
    tables = [class_table(sides[0].name, name, rows) for name, rows in found.items()]
    rows = class_rows(sides[0].name, found)
    content = {
        "reference": sides[0].name,
        "others": list(found),
        "file": chosen,
        "resamples": RESAMPLES,
        "seed": seed,
        "notes": notes,
        "compared": rows,
    }
    _show(tables, notes)
    if out is not None:
        _write(out, tables, class_csv(rows), content)
    return content


def _show(tables: Sequence[TextTable], notes: Sequence[str]) -> None:
    for table in tables:
        print_table(table)
    for note in notes:
        say(note)


def _write(out: Path, tables: Sequence[TextTable], table: str, content: dict[str, Any]) -> None:
    write_whole(out / "comparison.md", _page(tables, content["notes"]))
    write_whole(out / "comparison.csv", table)
    write_json(out / "comparison.json", content)


def _require_enough(more: Sequence[Path], by: str | None, store: Place | str | None) -> None:
    if not more and by is None:
        raise ConfigError(
            "one run alone cannot be compared; name another, or columns to group its cases by (--by)"
        )
    if (by is None) != (store is None):
        raise ConfigError("cases are grouped by columns (--by) of a store (--store); name both, or neither")


def _page(tables: Sequence[TextTable], notes: Sequence[str]) -> str:
    return "\n".join([*map(in_markdown, tables), *(f"- {note}" for note in notes)]) + "\n"


def _compared(sides: Sequence[Side], measure: str, common: Shared, seed: int) -> tuple[Compared, ...]:
    without = common.tolerances_differ if measure == "nsd" else ()
    names = [name for name in common.structures if name not in without]
    return tuple(one for one in compare_sides(sides, measure, names, common.cases, seed) if one.rows)


def _measures(asked: str | None, sides: Sequence[Side]) -> list[str]:
    if asked is not None:
        names = list(listed((asked,)))
        unknown = [name for name in names if name not in MEASURES]
        if unknown or not names:
            raise ConfigError(
                f"measures: {', '.join(unknown) or 'none'} cannot be compared; there are "
                f"{', '.join(MEASURES)}"
            )
        return names
    counted = all(any(row.lesions for row in side.evaluation.structures) for side in sides)
    return [*DEFAULT_MEASURES, *(("lesions_found", "false_lesions") if counted else ())]


def _said(sides: Sequence[Side], file: str) -> Iterator[str]:
    """What a reader must know of the scores."""
    for side in sides:
        if side.runs > 1:
            yield f"{side.name}: {side.runs} runs, averaged case by case first"
    if "validation.json" in file or any(side.evaluation.split == "val" for side in sides):
        yield CHOSE


def _facts(store: Store, cases: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the store says of each case: the columns of the catalog, and targets where these say nothing."""
    known: dict[str, Case] = {
        name: store.catalog.by_name[name] for name in cases if name in store.catalog.by_name
    }
    if not known:
        raise DataError(
            f"{store.path}: has none of the cases that were scored (e.g. {cases[0]}); name the store that "
            "they are from"
        )
    columns = {
        name: {column: getattr(case, column) for column in COLUMNS if getattr(case, column) not in (None, "")}
        for name, case in known.items()
    }
    return {name: {**targets_of_text(known[name].targets), **held} for name, held in columns.items()}


def _content(
    sides: Sequence[Side],
    file: str,
    found: Sequence[Compared],
    groups: Sequence[Subgroup],
    notes: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    return {
        "reference": sides[0].name,
        "others": [side.name for side in sides[1:]],
        "file": file,
        "resamples": RESAMPLES,
        "seed": seed,
        "notes": list(notes),
        "compared": [asdict(one) for one in found],
        "groups": [asdict(one) for one in groups],
    }
