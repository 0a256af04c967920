"""Whether runs were scored on the same: grid, cases, truth, structures, tolerances; or what they share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mim3d.errors import DataError
from mim3d.metrics.comparison import Side
from mim3d.metrics.evaluation import Evaluation, StructureScore

REMEDY = "add --shared to compare what they share, or score them on the same"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What can be compared."""

    cases: tuple[str, ...]
    structures: tuple[str, ...]
    tolerances_differ: tuple[str, ...]
    """Structures whose NSD cannot be compared."""
    lesions_differ: tuple[str, ...]
    """Structures whose lesions were counted from different sizes on."""
    notes: tuple[str, ...]
    """What was left out, and what could not be checked."""


def shared_by(sides: Sequence[Side], *, shared: bool, structures: Sequence[str] | None = None) -> Shared:
    """Cases and structures that all sides were scored on alike.

    Args:
        sides: The reference and the others.
        shared: Whether the rest may be left out.
        structures: Those that are to be compared; by default all.

    Raises:
        DataError: If there is a rest and it may not be left out, if nothing is left, the grids differ, or a
            structure asked for is not in all of them.
    """
    grids = {side.evaluation.grid for side in sides}
    if len(grids) > 1:
        raise DataError(
            f"{_each(sides, [_grid(side.evaluation) for side in sides])}: scores on different grids cannot "
            "be compared; score them in the same way"
        )
    cases, case_notes = _cases(sides)
    named = _named(sides, structures)
    alike, structure_notes = _structures(sides, named)
    tolerances = tuple(_differing(sides, cases, alike, lambda score: score.tolerance_mm))
    lesions = tuple(_differing(sides, cases, alike, _smallest_lesion))
    left_out = [*case_notes, *structure_notes]
    if tolerances:
        left_out.append(f"NSD of {', '.join(tolerances)} was taken at different tolerances")
    if lesions:
        left_out.append(f"lesions of {', '.join(lesions)} were counted from different sizes on")
    if left_out and not shared:
        remedy = REMEDY if cases and alike else "nothing is left that they share: score them on the same"
        raise DataError(f"{left_out[0]}; {remedy}")
    if not cases or not alike:
        what = "case" if not cases else "structure"
        raise DataError(
            f"{', '.join(side.name for side in sides)}: no {what} was scored in all of them against the same "
            "truth; score them on the same"
        )
    return Shared(
        cases=cases,
        structures=alike,
        tolerances_differ=tolerances,
        lesions_differ=lesions,
        notes=(*(f"left out: {note}" for note in left_out), *_unchecked(sides)),
    )


def _cases(sides: Sequence[Side]) -> tuple[tuple[str, ...], list[str]]:
    """Cases that all sides have, with the same truth; and what the others are."""
    truths = [_truths(side.evaluation) for side in sides]
    everywhere = [case for case in truths[0] if all(case in one for one in truths)]
    same = [case for case in everywhere if len({one[case] for one in truths} - {""}) < 2]
    notes = []
    if any(len(one) > len(everywhere) for one in truths):
        counts = _each(sides, [f"{len(one)} cases" for one in truths])
        notes.append(f"scored on different cases ({counts}; shared: {len(everywhere)})")
    if len(same) < len(everywhere):
        other = next(case for case in everywhere if case not in same)
        notes.append(
            f"{len(everywhere) - len(same)} cases were compared with another truth (e.g. {other}), of "
            "another store or other label maps"
        )
    return tuple(same), notes


def _named(sides: Sequence[Side], asked: Sequence[str] | None) -> list[list[str]]:
    """The structures of each side; of those asked for, where that is said.

    Raises:
        DataError: If one that is asked for is not in all of them.
    """
    named = [[row.name for row in side.evaluation.structures] for side in sides]
    if asked is None:
        return named
    everywhere = _everywhere(named)
    unknown = [name for name in asked if name not in everywhere]
    if unknown or not asked:
        raise DataError(
            f"structures: {', '.join(unknown) or 'none'} not scored in all runs; name some of "
            f"{', '.join(everywhere) or 'none'}, or score the runs on the same"
        )
    return [list(asked) for _ in sides]


def _everywhere(named: Sequence[Sequence[str]]) -> list[str]:
    return [name for name in named[0] if all(name in one for one in named)]


def _structures(sides: Sequence[Side], named: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], list[str]]:
    """Of the structures of each side those that all have, meaning the same; and what the others are."""
    everywhere = _everywhere(named)
    meanings = [side.evaluation.labels for side in sides]
    same = [name for name in everywhere if len({one.get(name, "") for one in meanings} - {""}) < 2]
    notes = []
    if any(len(one) > len(everywhere) for one in named):
        only = sorted({name for one in named for name in one if name not in everywhere})
        notes.append(f"not scored in all of them: {', '.join(only)}")
    for name in everywhere:
        if name not in same:
            notes.append(f"{name} is not the same ({_each(sides, [one.get(name, '?') for one in meanings])})")
    return tuple(same), notes


def _truths(evaluation: Evaluation) -> Mapping[str, str]:
    """Case to the hash of its truth."""
    return {case.case: case.truth for case in evaluation.cases}


def _smallest_lesion(score: StructureScore) -> float | None:
    return None if score.lesions is None else score.lesions.smallest_mm3


def _differing(
    sides: Sequence[Side],
    cases: Sequence[str],
    structures: Sequence[str],
    rule_of: Callable[[StructureScore], float | None],
) -> Iterator[str]:
    """Structures that were scored by more than one rule in a case; None where there is none."""
    known, found = set(cases), dict[tuple[str, str], set[float]]()
    for side in sides:
        for case in side.evaluation.cases:
            for score in case.scores if case.case in known else ():
                if (rule := rule_of(score)) is not None:
                    found.setdefault((score.name, case.case), set()).add(rule)
    several = {name for (name, _), rules in found.items() if len(rules) > 1}
    yield from (name for name in structures if name in several)


def _unchecked(sides: Sequence[Side]) -> Iterator[str]:
    for side in sides:
        if any(not case.truth for case in side.evaluation.cases):
            yield f"{side.name} does not say what its cases were compared with: not checked"


def _grid(evaluation: Evaluation) -> str:
    return {"own": "the scans' own grids", "working": "the store's working grid"}.get(
        evaluation.grid, "a grid that is not stated"
    )


def _each(sides: Sequence[Side], texts: Sequence[str]) -> str:
    return ", ".join(f"{side.name}: {text}" for side, text in zip(sides, texts, strict=True))
