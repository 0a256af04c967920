"""Runs to one HTML page that needs nothing but itself: no file, no network, no script."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mim3d.reporting.certainty import details_of
from mim3d.reporting.classes import ClassesSection, classes_section
from mim3d.reporting.compare import compare
from mim3d.reporting.curves import Chart
from mim3d.reporting.history import charts_of
from mim3d.reporting.members import member_charts, member_tables, with_members
from mim3d.reporting.pictures import Block, affordable, case_block, level_blocks
from mim3d.reporting.run import Run
from mim3d.reporting.summary import KINDS, decisive, imported, outcome, run_facts, table_title
from mim3d.reporting.tables import ScoreTable, Settings, score_table, settings_groups, structure_colours
from mim3d.reporting.template import fill
from mim3d.reporting.text_table import TextTable

MOST_CASES = 12
"""Cases shown on a page, shared out over the runs; worst first."""
MOST_CHARACTERS = 3_500_000
"""Their pictures take at most this much of the page, shared out over the runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSection:
    """What the page shows of one run."""

    name: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    outcome: str
    charts: tuple[Chart, ...]
    levels: tuple[Block, ...]
    cases: tuple[Block, ...]
    cases_left_out: int
    legend: tuple[tuple[str, str], ...]
    """Structure and #rrggbb."""
    tables: tuple[ScoreTable, ...]
    details: tuple[TextTable, ...]
    """Of the evaluation that counts: volumes, and cases, worst first."""
    classes: tuple[ClassesSection, ...]
    """Of a classifier."""
    members: tuple[TextTable, ...]
    """Of a cross-validation."""
    settings: tuple[tuple[str, Settings], ...]


def render(runs: tuple[Run, ...], note: str | None = None) -> str:
    """The page of one or several runs as HTML; `note` is shown on top, blank lines part its paragraphs."""
    runs = tuple(map(with_members, runs))
    names = run_names(runs)
    comparison = compare(runs, names)
    share = 0 if comparison and comparison.cases else len(runs)
    sections = tuple(
        run_section(run, name, f"r{number}", share)
        for number, (run, name) in enumerate(zip(runs, names, strict=True))
    )
    paragraphs = [part.strip() for part in (note or "").split("\n\n") if part.strip()]
    return fill("report.html", title=", ".join(names), runs=sections, comparison=comparison, note=paragraphs)


def run_names(runs: tuple[Run, ...]) -> tuple[str, ...]:
    """A name of its own for each run: its folder's, numbered where two are the same."""
    names: list[str] = []
    for run in runs:
        earlier = sum(other.name == run.name for other in runs[: len(names)])
        names.append(f"{run.name} ({earlier + 1})" if earlier else run.name)
    return tuple(names)


def run_section(run: Run, name: str, prefix: str, share: int) -> RunSection:
    """What the page shows of one run.

    Args:
        run: As read from its folder.
        name: Its name on this page.
        prefix: Of the identifiers of its pictures.
        share: Runs that the page's room for cases is shared by; 0 if cases are shown elsewhere.
    """
    colours, counts = structure_colours(run), decisive(run)
    cases = tuple(case_blocks(run, prefix, share)) if share else ()
    return RunSection(
        name=name,
        kind=KINDS[run.kind],
        facts=tuple(run_facts(run)),
        outcome=outcome(run),
        charts=member_charts(run) if run.members else tuple(charts_of(run)),
        levels=level_blocks(run.reconstruction, prefix) if run.reconstruction else (),
        cases=cases,
        cases_left_out=len(run.segmentation.cases) - len(cases) if run.segmentation else 0,
        legend=tuple(colours.items()),
        tables=tuple(
            score_table(table_title(one.evaluation), {name: one.evaluation}, colours)
            for one in run.evaluations
        ),
        details=() if counts is None else tuple(details_of(counts)),
        classes=tuple(map(classes_section, run.classifications)),
        members=member_tables(run),
        settings=(
            ("Configuration", settings_groups(configuration(run))),
            ("Provenance", settings_groups(run.provenance)),
            ("Preprocessing", settings_groups(run.preprocessing)),
        ),
    )


def configuration(run: Run) -> dict[str, Any]:
    """The settings that the run was made with; of imported weights, how they were trained is not known."""
    unknown = {"optimisation", "runtime"} if imported(run) else set()
    return {name: value for name, value in run.config.items() if name not in unknown}


def case_blocks(run: Run, prefix: str, share: int) -> Iterator[Block]:
    """As many of a run's cases as there is room for when `share` runs share the page, worst first."""
    pictures = run.segmentation
    if pictures is None:
        return
    shown = pictures.cases[: max(MOST_CASES // share, 2)]
    blocks = (
        case_block({"prediction": case}, pictures.structures, pictures.colours, f"{prefix}-case{number}")
        for number, case in enumerate(shown)
    )
    yield from affordable(blocks, MOST_CHARACTERS // share)
