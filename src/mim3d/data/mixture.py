"""Mixtures: a small JSON that names stores, how often each is drawn, and which of its cases."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mim3d.data.catalog import Case, Catalog, chosen
from mim3d.data.place import Place, place_of
from mim3d.errors import StoreError

FORMAT = "mim3d-mixture"
SLOTS = 10_000
"""Samples over which the members' shares are what the weights say, to within one."""
KNOWN = ("store", "name", "weight", "where")
"""What may be said of a member."""
NAME = re.compile(r"[\w.-]+")
COLUMNS = tuple(column.name for column in fields(Case) if column.name not in ("hash", "perceptual_hash"))

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda own, value: own == value,
    "!=": lambda own, value: own != value,
    "<": lambda own, value: own < value,
    "<=": lambda own, value: own <= value,
    ">": lambda own, value: own > value,
    ">=": lambda own, value: own >= value,
    "in": lambda own, value: own in value,
    "has": lambda own, value: value in own,
}


@dataclass(frozen=True)
class Condition:
    """What a case must be to be drawn: a column of the catalog, a comparison, a value."""

    column: str
    """Of the catalog; `statistics.mean` and its like for the numbers measured inside the body."""
    comparison: str
    value: Any
    """For columns of three numbers one that holds for each, or three."""


@dataclass(frozen=True)
class Member:
    """One store of a mixture."""

    name: str
    """What its cases' names begin with."""
    path: Place
    weight: float
    """Share of the samples, among the weights of all members."""
    where: tuple[Condition, ...] = ()


def is_mixture(path: Place) -> bool:
    """Whether a place is of a mixture rather than a store: a file, of a URL one that ends in .json."""
    return path.is_file() if isinstance(path, Path) else path.name.endswith(".json")


def read_mixture(path: Place) -> tuple[Member, ...]:
    """The members of a mixture; its stores are URLs, or paths relative to its file.

    Raises:
        StoreError: If the file is no mixture, or says what cannot be.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path}: neither a store nor a mixture in JSON ({error}); name the folder of a store, or mend "
            "the file"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StoreError(f'{path}: not a mixture; it needs "format": "{FORMAT}" (docs/trust.md)')
    _refuse_unknown(path, content, ("format", "stores"))
    stores = content.get("stores")
    if not isinstance(stores, list) or not stores:
        raise StoreError(f"{path}: `stores` must be a list of one store or more, got {stores!r}")
    members = tuple(_member(path, one) for one in stores)
    total = sum(member.weight for member in members)
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise StoreError(f"{path}: two members are named {name!r}; give one of them another `name`")
    for member in members:
        if member.weight / total < 1 / SLOTS:
            raise StoreError(
                f"{path}: weight {member.weight:g} of {member.name} is less than 1 in {SLOTS} of all, "
                f"{total:g}; raise it, or leave the store out"
            )
    return members


def filtered(catalog: Catalog, member: Member) -> Catalog:
    """The cases of a member's store that its conditions leave.

    Raises:
        StoreError: If a condition cannot be, or none is left.
    """
    places = range(len(catalog.cases))
    for condition in member.where:
        values = _column(catalog, condition, member.name)
        try:
            kept = [place for place in places if _holds(values[place], condition)]
        except TypeError:
            raise StoreError(
                f"member {member.name}: {condition.column} cannot be compared by `{condition.comparison}` "
                f"with {condition.value!r}; a case has {values[0]!r} there"
            ) from None
        catalog = Catalog(chosen(catalog.cases, kept))
        places = range(len(catalog.cases))
        if not kept:
            raise StoreError(
                f"member {member.name}: no case has {condition.column} {condition.comparison} "
                f"{condition.value!r}" + _example(values)
            )
    return catalog


def _member(path: Place, said: Any) -> Member:
    if not isinstance(said, dict) or not isinstance(said.get("store"), str):
        raise StoreError(f"{path}: each of `stores` must name a `store`, got {said!r}")
    _refuse_unknown(path, said, KNOWN)
    store = place_of(said["store"]) if "://" in said["store"] else path.parent / said["store"]
    name, weight = said.get("name", store.name), said.get("weight", 1.0)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise StoreError(f"{path}: a member's name must be of letters, digits, `_`, `-`, `.`, got {name!r}")
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 < weight < math.inf:
        raise StoreError(f"{path}: weight of {name} must be a number above 0, got {weight!r}")
    where = said.get("where", [])
    if not isinstance(where, list):
        raise StoreError(
            f"{path}: `where` of {name} must be a list of [column, comparison, value], got {where!r}"
        )
    return Member(name, store, float(weight), tuple(_condition(path, name, one) for one in where))


def _condition(path: Place, name: str, said: Any) -> Condition:
    if not isinstance(said, list) or len(said) != 3 or not all(isinstance(word, str) for word in said[:2]):
        raise StoreError(f"{path}: a condition of {name} must be [column, comparison, value], got {said!r}")
    column, comparison, value = said
    if column.partition(".")[0] not in COLUMNS:
        raise StoreError(f"{path}: {name}: no column {column!r}{_nearest(column, COLUMNS)}")
    if comparison not in COMPARISONS:
        known = ", ".join(COMPARISONS)
        raise StoreError(f"{path}: {name}: no comparison {comparison!r}; there are {known}")
    return Condition(column, comparison, value)


def _refuse_unknown(path: Place, said: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for word in said.keys() - set(known):
        raise StoreError(f"{path}: nothing is known of {word!r}{_nearest(word, known)}")


def _nearest(word: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.4)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"; {meant}there are {', '.join(known)}"


def _column(catalog: Catalog, condition: Condition, member: str) -> list[Any]:
    """The values that a condition is about."""
    name, _, part = condition.column.partition(".")
    values = catalog.column(name)
    if not part:
        return values
    known = tuple(values[0]) if values and isinstance(values[0], Mapping) else ()
    if part not in known:
        raise StoreError(f"member {member}: {name} has no {part!r}{_nearest(part, known)}")
    return [value[part] for value in values]


def _holds(own: Any, condition: Condition) -> bool:
    """Whether a value of the catalog is what a condition asks for; None never is."""
    holds, value = COMPARISONS[condition.comparison], condition.value
    if own is None:
        return False
    if isinstance(own, list | tuple) and condition.comparison not in ("in", "has"):
        wanted = value if isinstance(value, list) else [value] * len(own)
        if len(wanted) != len(own):
            raise TypeError
        each = [holds(one, other) for one, other in zip(own, wanted, strict=True)]
        return any(each) if condition.comparison == "!=" else all(each)
    return bool(holds(own, value))


def _example(values: list[Any]) -> str:
    found = sorted({str(value) for value in values})[:3]
    return f"; there is, for example, {', '.join(found)}" if found else ""
