"""Rows of a table as values of a class, made when they are looked at: hundreds of thousands take no time."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Row = TypeVar("Row")

RECENT = 256
"""Rows kept once they were made."""
AT_ONCE = 4096
"""Rows made into plain values together, where all are looked at."""


@dataclass(frozen=True, eq=False)
class Rows(Sequence[Row]):
    """Some rows of a table, in an order of their own."""

    table: pa.Table
    places: NDArray[np.int64]
    """Row numbers within the table."""
    make: Callable[[dict[str, Any]], Row]
    """The value that a row is of, from its columns."""

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> "Rows[Row]": ...
    def __getitem__(self, place: int | slice) -> "Row | Rows[Row]":
        if isinstance(place, slice):
            return self.at(self.places[place])
        return self.make(self.table.slice(int(self.places[place]), 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Row]:
        for first in range(0, len(self), AT_ONCE):
            yield from map(self.make, self.table.take(self.places[first : first + AT_ONCE]).to_pylist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def at(self, places: NDArray[np.int64]) -> "Rows[Row]":
        """Those at some places of the table, in that order."""
        return replace(self, places=places)

    @cached_property
    def parts(self) -> Mapping[str, tuple[int, int]]:
        """First and end of the cases of each store of a mixture, see `parts_of`."""
        return parts_of(self.column("case"))

    def column(self, name: str) -> list[Any]:
        """What the table has in a column, as plain values; what comes again and again is one object."""
        column = self.table.column(name).take(self.places).combine_chunks()
        if not pa.types.is_dictionary(column.type):
            found: list[Any] = column.to_pylist()
            return found
        values = column.dictionary.to_pylist()
        return [values[place] for place in column.indices.to_pylist()]


@dataclass(frozen=True, eq=False)
class NamedRows(Mapping[str, Row]):
    """Rows by the name that a column gives them."""

    rows: Rows[Row]
    number: Mapping[str, int]
    recent: dict[str, Row] = field(default_factory=dict)
    """Rows asked for lately: boxes of one case are read one by one."""

    def __getitem__(self, name: str) -> Row:
        found = self.recent.get(name)
        if found is None:
            found = self.rows[self.number[name]]
            if len(self.recent) >= RECENT:
                self.recent.clear()
            self.recent[name] = found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.number)

    def __len__(self) -> int:
        return len(self.number)


def parts_of(names: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """First and end of those sorted names that begin with the same word before a slash."""
    found: dict[str, tuple[int, int]] = {}
    for place, name in enumerate(names):
        part = name.partition("/")[0]
        first, end = found.get(part, (place, place))
        assert end == place
        found[part] = first, place + 1
    return found


def rows_of(table: pa.Table, make: Callable[[dict[str, Any]], Row]) -> Rows[Row]:
    """All rows of a table."""
    return Rows(table.combine_chunks(), np.arange(len(table)), make)


def rows_by(rows: Rows[Row], column: str) -> NamedRows[Row]:
    """The same rows by the values of a column."""
    return NamedRows(rows, {name: number for number, name in enumerate(rows.column(column))})
