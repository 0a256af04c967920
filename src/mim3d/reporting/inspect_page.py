"""A store to one HTML page that needs nothing but itself: what is in it, and its cases, worst first."""

from collections.abc import Sequence

from mim3d.data.place import name_at
from mim3d.data.store import Store
from mim3d.reporting.inspect_pictures import WINDOW, sheet
from mim3d.reporting.inspect_ranking import Progress, Suspect
from mim3d.reporting.inspect_summary import found_kinds, rejections, store_facts
from mim3d.reporting.pictures import Block
from mim3d.reporting.template import fill

MOST_LISTED = 500
"""Further suspects that are listed without pictures."""


def render_store(
    store: Store,
    suspects: Sequence[Suspect],
    labels: str | None,
    *,
    num_shown: int,
    quick: bool,
    on_case: Progress,
) -> str:
    """The page of a store as HTML.

    Args:
        store: To show.
        suspects: All of its cases, worst first.
        labels: Label set to draw; None for the first of each case.
        num_shown: Cases with pictures, at most.
        quick: Whether only the catalog was looked at.
        on_case: Called after each picture with the number done and of all.
    """
    shown = suspects[:num_shown]
    blocks = []
    for number, suspect in enumerate(shown, start=1):
        blocks.append(sheet(store, suspect, labels, f"c{number}"))
        on_case(number, len(shown))
    num_suspects = sum(bool(one.findings) for one in suspects)
    listed = [one for one in suspects[num_shown:] if one.findings]
    return fill(
        "store.html",
        title=name_at(store.path),
        outcome=_outcome(num_suspects, len(suspects)),
        quick=quick,
        facts=tuple(store_facts(store)),
        kinds=found_kinds(suspects),
        rejected=rejections(store.path),
        window=f"{WINDOW.low:.0f} to {WINDOW.high:.0f} HU",
        num_odd=min(num_suspects, len(blocks)),
        blocks=blocks,
        left_out=len(suspects) - len(blocks),
        legend_entries=_legend(blocks),
        listed=[(one.subject.case.case, one.findings[0].words) for one in listed[:MOST_LISTED]],
        not_listed=max(len(listed) - MOST_LISTED, 0),
    )


def _outcome(num_suspects: int, num_cases: int) -> str:
    if not num_cases:
        return "The store holds no cases."
    if not num_suspects:
        return f"Nothing odd was found in {num_cases:,} cases."
    return f"{num_suspects:,} of {num_cases:,} cases {'is' if num_suspects == 1 else 'are'} suspect."


def _legend(blocks: Sequence[Block]) -> tuple[tuple[str, str], ...]:
    """Name and colour of all structures that are outlined, by name."""
    panels = (panel for block in blocks for row in block.rows for panel in row.panels)
    return tuple(sorted({(shape.name, shape.stroke) for panel in panels for shape in panel.shapes}))
