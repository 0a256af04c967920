"""What is segmented: structures of a label set, or unions of them, e.g. `whole=edema+core+enhancing`.

The structures of the label set that they are made of are their parts: ids 1, 2, ... in order of appearance,
one id a voxel. Structures may share parts, such as `whole` and `core=core+enhancing`. Then each is found for
itself. Label maps still hold one value a voxel, 1, 2, ... by structure, later ones painted over earlier ones;
nothing is lost, since of two that share parts the first holds all of the other.
"""

from collections.abc import Iterable, Sequence

from mim3d.errors import ConfigError

MOST_PARTS = 254
"""Ids and values are bytes; 0 is the background, 255 is ignored."""


def listed(said: Iterable[str]) -> tuple[str, ...]:
    """Names one by one, of words that may hold several joined by commas."""
    return tuple(one.strip() for words in said for one in words.split(",") if one.strip())


def names(structures: Sequence[str]) -> tuple[str, ...]:
    """What the structures are called: `whole` of `whole=edema+core`, `liver` of `liver`."""
    return tuple(one.partition("=")[0].strip() for one in structures)


def parts(structures: Sequence[str]) -> tuple[str, ...]:
    """Names in the label set that the structures are made of, each once; their ids are 1, 2, ..."""
    return tuple(dict.fromkeys(part for one in structures for part in _parts_of(one)))


def made_of(structures: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The parts of each structure: `edema` and `core` of `whole=edema+core`, `liver` of `liver`."""
    return {name: _parts_of(one) for name, one in zip(names(structures), structures, strict=True)}


def membership(structures: Sequence[str]) -> tuple[tuple[bool, ...], ...]:
    """Which ids belong to which structure: (S, 1 + P), the background first, which belongs to none."""
    every = parts(structures)
    return tuple((False, *(part in _parts_of(one) for part in every)) for one in structures)


def overlapping(structures: Sequence[str]) -> bool:
    """Whether two structures share a part."""
    return sum(len(_parts_of(one)) for one in structures) > len(parts(structures))


def painted(structures: Sequence[str]) -> tuple[int, ...]:
    """The value in a label map of each id (1 + P,): the last structure that it belongs to, from 1."""
    last = {part: value for value, one in enumerate(structures, start=1) for part in _parts_of(one)}
    return (0, *(last[part] for part in parts(structures)))


def values(structures: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The values in a label map that make up each structure: its own, and those of what it holds."""
    sets = [set(_parts_of(one)) for one in structures]
    return {
        name: tuple(value for value, other in enumerate(sets, start=1) if other <= own)
        for name, own in zip(names(structures), sets, strict=True)
    }


def check_structures(structures: Sequence[str]) -> None:
    """Refuse structures that cannot be told apart, or cannot be kept in one label map.

    Raises:
        ConfigError: If one is not written as it should be, two have one name or the same parts, two overlap
            and the first does not hold the other, or there are too many parts.
    """
    for one in structures:
        if not all((*names([one]), *_parts_of(one))):
            raise ConfigError(f"a structure is written NAME, or NAME=PART+PART+..., got {one!r}")
    called = names(structures)
    if len(set(called)) < len(called):
        raise ConfigError(f"structures must be different from one another, got {', '.join(called)}")
    most = max(len(parts(structures)), len(structures))
    if most > MOST_PARTS:
        raise ConfigError(
            f"structures, and what they are made of, must be at most {MOST_PARTS}, got {most}; name fewer"
        )
    sets = [set(_parts_of(one)) for one in structures]
    for place, later in enumerate(sets):
        for first, earlier in enumerate(sets[:place]):
            if earlier & later and not later < earlier:
                raise ConfigError(_clash(called[first], earlier, called[place], later))


def _clash(first: str, earlier: set[str], second: str, later: set[str]) -> str:
    if earlier == later:
        return f"structures {first} and {second} are both made of {', '.join(sorted(later))}; drop one"
    if earlier < later:
        return f"structure {first} lies within {second}; name {second} before it, as it is painted over it"
    shared = ", ".join(sorted(earlier & later))
    return (
        f"structures {first} and {second} share {shared}, and neither holds the other, so that no label map "
        "could hold both; segment them in runs of their own"
    )


def _parts_of(structure: str) -> tuple[str, ...]:
    name, equals, union = structure.partition("=")
    return tuple(part.strip() for part in union.split("+")) if equals else (name.strip(),)
