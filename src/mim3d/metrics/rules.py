"""What an evaluation leaves to choose: tolerances of NSD, and of which structures lesions are counted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mim3d.config.structures import listed
from mim3d.errors import ConfigError

DEFAULT_TOLERANCE = 2.0
"""mm, of NSD; raised to the largest spacing of a scan where that is larger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How the structures of a case are scored."""

    tolerance: float = DEFAULT_TOLERANCE
    """Of NSD, mm, for structures without one of their own; never below the largest spacing of a scan."""
    tolerances: Mapping[str, float] = field(default_factory=dict)
    """Of NSD, mm, by structure."""
    lesions: tuple[str, ...] = ()
    """Structures whose connected components are counted as lesions."""
    smallest_lesion: float = 0.0
    """Volume of the smallest lesion that counts, mm^3."""

    def __post_init__(self) -> None:
        for name, tolerance in (("", self.tolerance), *self.tolerances.items()):
            if not 0 <= tolerance < math.inf:
                of = f" of {name}" if name else ""
                raise ConfigError(f"tolerance{of} must be 0 mm or more, and finite, got {tolerance}")
        if not 0 <= self.smallest_lesion < math.inf:
            raise ConfigError(
                f"smallest lesion must be 0 mm^3 or more, and finite, got {self.smallest_lesion}"
            )

    def tolerance_of(self, name: str) -> float:
        """Of a structure, mm."""
        return self.tolerances.get(name, self.tolerance)

    def require_known(self, names: Sequence[str]) -> None:
        """Refuse rules for structures that are not scored.

        Raises:
            ConfigError: If a rule names a structure that is not among `names`.
        """
        for what, named in (("tolerance", self.tolerances), ("lesions", self.lesions)):
            unknown = [name for name in named if name not in names]
            if unknown:
                raise ConfigError(
                    f"{what}: no structure {', '.join(unknown)} is scored; there are {', '.join(names)}"
                )


def read_rules(tolerance: str | float, lesions: str | None = None, smallest_lesion: float = 0.0) -> Rules:
    """Rules as a line says them.

    Args:
        tolerance: Of NSD, mm: `2` for all structures, `liver=3,tumour=2`, or both: `2,liver=3`.
        lesions: Structures whose lesions are counted, joined by commas.
        smallest_lesion: Volume of the smallest lesion that counts, mm^3.

    Raises:
        ConfigError: If a tolerance is no number of mm, or one cannot be.
    """
    default, special = DEFAULT_TOLERANCE, {}
    for part in str(tolerance).split(","):
        name, equals, number = part.rpartition("=")
        try:
            mm = float(number)
        except ValueError:
            raise ConfigError(
                f"tolerance must be mm, for all structures or as name=mm, got {part.strip()!r}; "
                "e.g. `2` or `2,liver=3`"
            ) from None
        if equals:
            special[name.strip()] = mm
        else:
            default = mm
    counted = listed((lesions or "",))
    return Rules(tolerance=default, tolerances=special, lesions=counted, smallest_lesion=smallest_lesion)
