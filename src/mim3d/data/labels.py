"""Label sets: which value of a label map means which structure, and in which colour it is shown."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mim3d.errors import DataError

LARGEST_VALUE = 65535
"""Label maps are kept as unsigned integers of at most 16 bits."""


@dataclass(frozen=True, eq=True)
class LabelSet:
    """The structures of a label map, by name; 0 is the background of every set."""

    name: str
    structures: dict[str, int]
    """Structure name -> value in the label map, 1 to 65535."""
    colours: dict[str, str] = field(default_factory=dict)
    """Structure name -> "#rrggbb"; `colour` answers for those without one."""
    ignore: int | None = None
    """Value of voxels that are neither background nor a structure, if the set has one."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", self.name):
            raise DataError(
                f"label set {self.name!r}: as a folder's name, it may hold letters, digits, `_`, `-` and "
                "`.`; rename it"
            )
        values = list(self.structures.values())
        wrong = [value for value in values if not 1 <= value <= LARGEST_VALUE]
        if wrong or len(set(values)) < len(values) or self.ignore in values:
            raise DataError(
                f"label set {self.name}: each structure needs a value of its own from 1 to {LARGEST_VALUE} "
                f"that is not the ignore value {self.ignore}, got {self.structures}"
            )

        strange = [
            colour for colour in self.colours.values() if not re.fullmatch("#[0-9a-fA-F]{6}", str(colour))
        ]
        if strange:
            raise DataError(
                f"label set {self.name}: colour {strange[0]!r}; colours are written #rrggbb, e.g. #aa3322"
            )

    def values(self, names: Iterable[str]) -> tuple[int, ...]:
        """Values of the named structures, in the order given.

        Raises:
            DataError: If a name is not in the set.
        """
        names = list(names)
        unknown = [name for name in names if name not in self.structures]
        if unknown:
            known = ", ".join(sorted(self.structures)) or "none"
            raise DataError(f"label set {self.name} has no structure {', '.join(unknown)}; it has: {known}")
        return tuple(self.structures[name] for name in names)

    def colour(self, name: str) -> str:
        """Colour of a structure, "#rrggbb": its own, or one spread over the hues by its value."""
        given = self.colours.get(name)
        return given if given is not None else _spread(self.structures[name])


def _spread(value: int) -> str:
    """A colour that differs from its neighbours': hues a golden angle apart."""
    hue = (value * 0.381966) % 1.0 * 6.0
    channels = [min(max(abs((hue + shift) % 6.0 - 3.0) - 1.0, 0.0), 1.0) for shift in (0.0, 4.0, 2.0)]
    return "#" + "".join(f"{round(60 + 180 * channel):02x}" for channel in channels)
