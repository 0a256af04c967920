"""`mim3d compare` of runs that segment."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from mim3d.config.structures import listed
from mim3d.errors import ConfigError
from mim3d.metrics.comparable import Shared, shared_by
from mim3d.metrics.comparison import LESION_MEASURES, MEASURES, Compared, Side, compare_sides
from mim3d.metrics.statistics import RESAMPLES
from mim3d.metrics.subgroups import subgroups
from mim3d.recipes.comparison import CHOSE, Asked, Outcome, grouping
from mim3d.recipes.evaluations import read_side
from mim3d.reporting.comparison_tables import as_csv, comparison_table, subgroup_table

DEFAULT_MEASURES = ("dice", "nsd", "hd95_mm")


def compare_structures(asked: Asked) -> Outcome:
    """Differences structure by structure, in each measure; then groups of the cases, in the first measure.

    Raises:
        MimError: If the scores cannot be read or compared, or there is no such measure or group.
    """
    sides = [read_side(name, files) for name, files in asked.files.items()]
    named = None if asked.structures is None else listed((asked.structures,))
    common = shared_by(sides, shared=asked.shared, structures=named)
    measures = _measures(asked.measures, sides)
    found = [one for name in measures for one in _compared(sides, name, common, asked.seed)]
    known, first = grouping(asked, common.cases), measures[0]
    groups = subgroups(sides, first, _comparable(common, first), known.facts, known.columns, asked.seed)
    tables = [comparison_table(one) for one in found]
    if groups:
        title, digits = f"{MEASURES[first].title}, mean over structures,", MEASURES[first].digits
        tables.append(subgroup_table(groups, [side.name for side in sides], title, digits))
    content = {
        "reference": sides[0].name,
        "others": [side.name for side in sides[1:]],
        "file": asked.called,
        "resamples": RESAMPLES,
        "seed": asked.seed,
        "notes": [*common.notes, *_said(sides, asked), *known.notes],
        "compared": [asdict(one) for one in found],
        "groups": [asdict(one) for one in groups],
    }
    return Outcome(tables=tuple(tables), csv=as_csv(found), content=content)


def _compared(sides: Sequence[Side], measure: str, common: Shared, seed: int) -> tuple[Compared, ...]:
    names = _comparable(common, measure)
    return tuple(one for one in compare_sides(sides, measure, names, common.cases, seed) if one.rows)


def _comparable(common: Shared, measure: str) -> list[str]:
    """Structures whose scores in a measure were taken alike."""
    without = {"nsd": common.tolerances_differ} | dict.fromkeys(LESION_MEASURES, common.lesions_differ)
    return [name for name in common.structures if name not in without.get(measure, ())]


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
    return [*DEFAULT_MEASURES, *(LESION_MEASURES if counted else ())]


def _said(sides: Sequence[Side], asked: Asked) -> Iterator[str]:
    """What a reader must know of the scores."""
    for side in sides:
        if side.runs > 1:
            yield f"{side.name}: {side.runs} runs, averaged case by case first"
    if asked.chose([side.evaluation.split for side in sides]):
        yield CHOSE
