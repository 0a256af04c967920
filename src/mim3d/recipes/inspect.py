"""Wiring of `mim3d inspect`: a store to one HTML page, worst suspects first."""

from contextlib import AbstractContextManager
from pathlib import Path

from mim3d.data.place import Place, name_at
from mim3d.data.store import Store, open_store
from mim3d.errors import ConfigError, StoreError
from mim3d.recipes.progress import shown_progress
from mim3d.reporting.inspect_page import render_store
from mim3d.reporting.inspect_ranking import Progress, examine, ranked
from mim3d.reporting.template import write_whole

SECONDS_BEFORE_PROGRESS = 5.0


def inspect(
    store: Place | str,
    /,
    *,
    out: Path | None = None,
    cases: int = 24,
    labels: str | None = None,
    quick: bool = False,
) -> Path:
    """Write one self-contained HTML page about a store: what is in it, and its cases, worst suspects first.

    Args:
        store: Folder of a store, or its URL.
        out: HTML file to write; by default `STORE.inspect.html` beside the store, of a URL in this folder.
        cases: Cases shown with pictures, at most; all are checked.
        labels: Label set to check and to draw; by default all are checked, and each case's first is drawn.
        quick: Look at the catalog alone: no air, slices or labels are checked.

    Returns:
        The page written.

    Raises:
        StoreError: If there is no store, it is a mixture, or it has no such label set.
        ConfigError: If `out` is a folder, or `cases` below 0.
    """
    opened = open_store(store)
    if opened.members:
        names = ", ".join(member.name for member in opened.members)
        raise StoreError(f"{store}: a mixture of {names}, but one store is needed: inspect each on its own")
    target = _beside(opened.path) if out is None else out
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder, but out must be a file; try {target / 'inspect.html'}")
    if cases < 0:
        raise ConfigError(f"cases must be 0 or more, got {cases}")
    sets = _label_sets(opened, labels)
    with _progress("measured") as on_case:
        subjects = examine(opened, sets, on_case, quick=quick)
    with _progress("compared") as on_case:
        suspects = ranked(subjects, {name: opened.label_sets[name].structures for name in sets}, on_case)
    with _progress("drawn") as on_case:
        page = render_store(opened, suspects, labels, num_shown=cases, quick=quick, on_case=on_case)
    write_whole(target, page)
    return target


def _beside(store: Place) -> Path:
    folder = store.resolve().parent if isinstance(store, Path) else Path()
    return folder / f"{name_at(store)}.inspect.html"


def _progress(done: str) -> AbstractContextManager[Progress]:
    return shown_progress("inspect", f"{done} case", seconds=SECONDS_BEFORE_PROGRESS)


def _label_sets(store: Store, labels: str | None) -> tuple[str, ...]:
    """The label set asked for, or all."""
    if labels is None:
        return tuple(store.label_sets)
    if labels not in store.label_sets:
        known = ", ".join(sorted(store.label_sets)) or "none"
        raise StoreError(f"{store.path}: no label set {labels!r}; it has: {known}")
    return (labels,)
