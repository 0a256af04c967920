"""`mim3d compare` of runs that classify."""

from dataclasses import asdict

from mim3d.errors import ConfigError
from mim3d.metrics.classification import TITLES
from mim3d.metrics.statistics import RESAMPLES
from mim3d.metrics.subgroups import class_subgroups
from mim3d.recipes.comparison import CHOSE, Asked, Outcome, grouping
from mim3d.reporting.class_sides import classified_alike, compare_class_sides, read_class_side
from mim3d.reporting.comparison_tables import class_csv, class_rows, class_table, subgroup_table

GROUPED = {
    "auroc": "Groups of one class have no AUROC and are left out.",
    "accuracy": "",
}
"""Measures of groups, and what there is to say of them."""


def compare_classes(asked: Asked) -> Outcome:
    """Differences in AUROC, accuracy and balanced accuracy; then groups of the cases.

    Raises:
        MimError: If the scores cannot be read or compared, or there is no such group.
    """
    for name, value in (("measures", asked.measures), ("structures", asked.structures)):
        if value is not None:
            raise ConfigError(
                f"--{name} {value}: runs that classify are compared in all that they have; leave it out"
            )
    sides = [read_class_side(name, files) for name, files in asked.files.items()]
    alike = classified_alike(sides, shared=asked.shared)
    found = compare_class_sides(sides, alike, asked.seed)
    known = grouping(asked, alike.cases)
    groups = {
        measure: class_subgroups(
            alike.judged, alike.sides, alike.cases, measure, known.facts, known.columns, asked.seed
        )
        for measure in GROUPED
    }
    names = [side.name for side in sides]
    tables = [class_table(names[0], name, rows) for name, rows in found.items()]
    tables += [
        subgroup_table(some, names, TITLES[measure], 3, GROUPED[measure])
        for measure, some in groups.items()
        if some
    ]
    rows = class_rows(names[0], found)
    content = {
        "reference": names[0],
        "others": names[1:],
        "file": asked.called,
        "resamples": RESAMPLES,
        "seed": asked.seed,
        "notes": [
            *alike.notes,
            *([CHOSE] if asked.chose([side.split for side in sides]) else []),
            *known.notes,
        ],
        "compared": rows,
        "groups": [{"measure": measure, **asdict(one)} for measure, some in groups.items() for one in some],
    }
    return Outcome(tables=tuple(tables), csv=class_csv(rows), content=content)
