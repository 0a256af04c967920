"""Which case a sample takes, and which instead where its data are damaged: functions of seed and number."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mim3d.config import Runtime
from mim3d.data.catalog import Case
from mim3d.errors import DamageError

Sample = TypeVar("Sample")

OnDamage = Callable[[str, str], None]
"""Called with the name of a damaged case and what is wrong with it."""
MOST_SUBSTITUTES = 8
"""Drawn for one sample; a store in which all of them are damaged too is not trained on."""
SUBSTITUTE = 1
"""Sets the draw of substitutes apart from that of regions."""


def unheard(_case: str, _wrong: str) -> None:
    """For who does not want to know of damage."""


def read_turn(
    read: Callable[[Case], Sample],
    cases: Sequence[Case],
    runtime: Runtime,
    turn: tuple[int, int],
    on_damage: OnDamage = unheard,
) -> Sample:
    """What `read` makes of the case whose turn it is, or as `runtime.damaged_cases` says of a substitute.

    Args:
        read: Makes a sample of a case.
        cases: To choose from.
        runtime: What to do about damage.
        turn: Seed and global sample number.
        on_damage: See `OnDamage`; called where a substitute is taken.

    Raises:
        DamageError: If the data of the case are damaged, and no substitute is wanted or found.
    """
    seed, number = turn
    candidates = chain([turn_of(seed, number, len(cases))], substitutes(seed, number, len(cases)))
    for place in candidates:
        try:
            return read(cases[place])
        except DamageError as error:
            if runtime.damaged_cases == "stop":
                raise DamageError(
                    f"{error}; or go on with others in its place: --runtime.damaged-cases substitute"
                ) from error
            on_damage(cases[place].case, str(error))
    raise DamageError(
        f"sample {number}: its case and {MOST_SUBSTITUTES} drawn in its place are damaged, the last "
        f"{cases[place].case}; `mim3d verify STORE` tells which cases are, `mim3d prepare` makes them anew"
    )


def turn_of(seed: int, number: int, count: int) -> int:
    """Which case sample `number` takes: every case once, in a new random order, before any comes again."""
    lap, place = divmod(number, count)
    return int(_order(seed, lap, count)[place])


def substitutes(seed: int, number: int, count: int) -> Iterator[int]:
    """Which cases sample `number` takes instead, one after the other."""
    random = np.random.default_rng([seed, number, SUBSTITUTE, count])
    yield from map(int, random.integers(count, size=MOST_SUBSTITUTES))


@lru_cache(maxsize=4)
def _order(seed: int, lap: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, lap, count]).permutation(count)
