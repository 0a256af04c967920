"""Which case a sample takes, and which instead where its data are damaged: functions of seed and number."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mim3d.config import Runtime
from mim3d.data.catalog import Case
from mim3d.data.mixture import SLOTS, Member
from mim3d.data.rows import Rows, parts_of
from mim3d.errors import DamageError

Sample = TypeVar("Sample")

OnDamage = Callable[[str, str], None]
"""Called with the name of a damaged case and what is wrong with it."""
MOST_SUBSTITUTES = 8
"""Drawn for one sample; a store in which all of them are damaged too is not trained on."""
SUBSTITUTE = 1
"""Sets the draw of substitutes apart from that of regions."""
MEMBERS = 2
"""Sets the draw of a mixture's members apart from others."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One sample of a run."""

    seed: int
    number: int
    """Global."""
    members: tuple[Member, ...] = ()
    """Of a mixture: which store is drawn first, by weight, then a case of it. None of a plain store."""


def unheard(_case: str, _wrong: str) -> None:
    """Do nothing about damage that is reported."""


def read_turn(
    read: Callable[[Case], Sample],
    cases: Sequence[Case],
    runtime: Runtime,
    turn: Turn,
    on_damage: OnDamage = unheard,
) -> Sample:
    """What `read` makes of the case whose turn it is, or as `runtime.damaged_cases` says of a substitute.

    Args:
        read: Makes a sample of a case.
        cases: To choose from.
        runtime: What to do about damage.
        turn: Whose it is.
        on_damage: See `OnDamage`; called where a substitute is taken.

    Raises:
        DamageError: If the data of the case are damaged, and no substitute is wanted or found.
    """
    for place in places_of(turn, cases):
        try:
            return read(cases[place])
        except DamageError as error:
            name = cases[place].case
            wrong = f"{name.partition('/')[0]}: {error}" if turn.members else str(error)
            if runtime.damaged_cases == "stop":
                raise DamageError(
                    f"{wrong}; or go on with others in its place: --runtime.damaged-cases substitute"
                ) from error
            on_damage(name, wrong)
    raise DamageError(
        f"sample {turn.number}: its case and {MOST_SUBSTITUTES} drawn in its place are damaged, the last "
        f"{cases[place].case}; `mim3d verify STORE` tells which cases are, `mim3d prepare` makes them anew"
    )


def places_of(turn: Turn, cases: Sequence[Case]) -> Iterator[int]:
    """The case whose turn it is, and those that come in its place, one after the other."""
    first, count, number = 0, len(cases), turn.number
    if turn.members:
        first, count, number = _of_member(turn, cases)
    yield first + turn_of(turn.seed, number, count)
    if count == 1:  # nothing else to draw from its store
        first, count = 0, len(cases)
    for place in substitutes(turn.seed, turn.number, count):
        yield first + place


def turn_of(seed: int, number: int, count: int) -> int:
    """Which case sample `number` takes: every case once, in a new random order, before any comes again."""
    lap, place = divmod(number, count)
    return int(_order(seed, lap, count)[place])


def substitutes(seed: int, number: int, count: int) -> Iterator[int]:
    """Which cases sample `number` takes instead, one after the other."""
    random = np.random.default_rng([seed, number, SUBSTITUTE, count])
    yield from map(int, random.integers(count, size=MOST_SUBSTITUTES))


def _of_member(turn: Turn, cases: Sequence[Case]) -> tuple[int, int, int]:
    """Where the cases of the sample's store begin, how many they are, and its number among their samples."""
    parts = cases.parts if isinstance(cases, Rows) else parts_of([case.case for case in cases])
    present = [member for member in turn.members if member.name in parts]
    shares = slots_of(tuple(member.weight for member in present))
    lap, slot = divmod(turn.number, SLOTS)
    members, ranks = _slots(turn.seed, lap, shares)
    chosen = int(members[slot])
    first, end = parts[present[chosen].name]
    return first, end - first, lap * shares[chosen] + int(ranks[slot])


def slots_of(weights: tuple[float, ...]) -> tuple[int, ...]:
    """How many of `SLOTS` samples each weight has, at least one; the largest rests are rounded up."""
    exact = [weight / sum(weights) * SLOTS for weight in weights]
    slots = [max(1, int(share)) for share in exact]
    by_rest = sorted(range(len(slots)), key=lambda member: slots[member] - exact[member])
    for member in by_rest[: max(0, SLOTS - sum(slots))]:
        slots[member] += 1
    slots[slots.index(max(slots))] += SLOTS - sum(slots)
    return tuple(slots)


@lru_cache(maxsize=4)
def _slots(seed: int, lap: int, shares: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each sample of a lap the member, and how many samples of the lap that member had before."""
    random = np.random.default_rng([seed, lap, MEMBERS, *shares])
    members = random.permutation(np.repeat(np.arange(len(shares)), shares))
    ranks = np.empty(SLOTS, np.int64)
    for member, share in enumerate(shares):
        ranks[members == member] = np.arange(share)
    return members, ranks


@lru_cache(maxsize=16)
def _order(seed: int, lap: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, lap, count]).permutation(count)
