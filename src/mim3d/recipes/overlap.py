"""`mim3d overlap`: stores in, the cases that are likely the same scan out."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from mim3d.data.limits import cores
from mim3d.data.overlap import Hashed, Twin, rows, twins_between, twins_within, with_hashes
from mim3d.data.place import Place
from mim3d.data.store import open_store
from mim3d.errors import ConfigError
from mim3d.recipes.messages import say
from mim3d.recipes.progress import shown_progress


def overlap(
    store: Place | str,
    other: Place | str | None = None,
    /,
    *,
    within: float = 0.15,
    out: Path | None = None,
    workers: int | None = None,
) -> tuple[Twin, ...]:
    """Find scans that are in two stores, or twice in one, under whatever names and at whatever spacings.

    Args:
        store: A prepared store.
        other: Another; without it the cases of the first are compared with each other.
        within: Largest distance that is reported, no unit; docs/trust.md says what was measured.
        out: CSV to write.
        workers: Processes that make hashes of cases that have none; by default one per core.

    Returns:
        Pairs of cases, closest first.

    Raises:
        ConfigError: If `workers` is below 1, or `within` is not positive.
        StoreError: If there is no store.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    if not 0 < within < math.inf:
        raise ConfigError(f"within must be above 0, and finite, got {within}")
    ours = _hashes(store, workers or cores())
    if other is None:
        found, beside = twins_within(ours, within=within), ""
    else:
        theirs = _hashes(other, workers or cores())
        found, beside = twins_between(ours, theirs, within), f" and {len(theirs.names)} of {other}"
    if out is not None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows(found))
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = out.with_name(f".{out.name}.partial")
        aside.write_text(text.getvalue())
        aside.replace(out)
    say(f"{len(ours.names)} cases of {store}{beside} compared: {_count(found)}")
    return tuple(found)


def _count(found: Sequence[Twin]) -> str:
    across = sum(twin.crosses_splits for twin in found)
    apart = f", {across} of them in different splits" if across else ""
    return f"{len(found)} likely the same scan{apart}" if found else "no scan found twice"


def _hashes(path: Place | str, workers: int) -> Hashed:
    with shown_progress("hash", "case") as on_case:
        return with_hashes(open_store(path), workers, on_case)
