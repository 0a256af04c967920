"""What `compare` asks of runs of either kind, and what it tells of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mim3d.config.structures import listed
from mim3d.data.catalog import Case
from mim3d.data.place import Place, name_at
from mim3d.data.store import open_store
from mim3d.data.targets import targets_of_text
from mim3d.errors import DataError
from mim3d.metrics.subgroups import COLUMNS
from mim3d.reporting.text_table import TextTable
from mim3d.run_files import SCORES

CHOSE = (
    "these cases chose the best steps of the runs, so all scores are a little too good; compare on a test "
    "split (`mim3d score`) before you believe a difference"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Which scores are compared, and how."""

    called: str
    """What the files of the scores are called."""
    files: dict[str, list[Path]]
    """By the name of each side."""
    measures: str | None
    structures: str | None
    shared: bool
    by: str | None
    store: Place | str | None
    seed: int

    def chose(self, splits: Sequence[str]) -> bool:
        """Whether the cases chose the best step of a run; `splits` are those of the sides."""
        return SCORES in self.called or "val" in splits


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What is told and written."""

    tables: tuple[TextTable, ...]
    csv: str
    content: dict[str, Any]
    """Of comparison.json."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grouping:
    """By what cases are grouped, and what is known of them."""

    columns: tuple[str, ...] = ()
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Case to what the store says of it."""
    notes: tuple[str, ...] = ()
    """Cases that the store does not have."""


def grouping(asked: Asked, cases: Sequence[str]) -> Grouping:
    """What the store says of cases: the columns of its catalog, and targets where these say nothing.

    Raises:
        MimError: If the store cannot be opened, or has none of the cases.
    """
    if asked.by is None or asked.store is None:
        return Grouping()
    store = open_store(asked.store)
    known = {name: store.catalog.by_name[name] for name in cases if name in store.catalog.by_name}
    if not known:
        raise DataError(
            f"{store.path}: has none of the cases that were scored (e.g. {cases[0]}); name the store that "
            "they are from"
        )
    facts = {name: {**targets_of_text(case.targets), **dict(_held(case))} for name, case in known.items()}
    missing = (f"{name} is not in {name_at(store.path)}: in no group" for name in cases if name not in known)
    return Grouping(columns=listed((asked.by,)), facts=facts, notes=tuple(missing))


def _held(case: Case) -> Iterator[tuple[str, Any]]:
    """The columns of the catalog that say something of a case."""
    for column in COLUMNS:
        value = getattr(case, column)
        if value not in (None, ""):
            yield column, value
