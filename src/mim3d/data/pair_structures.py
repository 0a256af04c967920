"""Which structures of two label maps are compared: those that both sides name, or unions asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mim3d.data.pairs import Pair, Values
from mim3d.errors import DataError

Parts = Mapping[str, tuple[str, ...]]
"""Structure to the names in the label set that it is made of."""


def as_asked(pairs: Sequence[Pair], asked: Parts | None) -> tuple[list[str], list[Pair]]:
    """Names of the structures to score, and pairs that have their values; by default all that both name.

    Args:
        pairs: As found.
        asked: What is to be scored: of the truth the union of the parts; of the prediction what bears the
            structure's own name, else the union of the parts.

    Raises:
        DataError: If no pair has such a structure, or a name means more in the prediction than in the truth.
    """
    if asked is None:
        return _shared(pairs), _checked(pairs, _shared(pairs))
    found = [_joined(pair, asked) for pair in pairs]
    known = {name for pair in found for name in pair.shared}
    unknown = [name for name in asked if name not in known]
    if unknown or not asked:
        both = ", ".join(dict.fromkeys(name for pair in pairs for name in pair.shared)) or "none"
        raise DataError(f"structures: {', '.join(unknown) or 'none'}; prediction and truth both name: {both}")
    plain = [name for name, parts in asked.items() if parts == (name,)]
    _checked(found, plain)
    return list(asked), found


def meanings(pairs: Sequence[Pair], names: Sequence[str]) -> dict[str, str]:
    """What each structure is in the truth; of one that differs from case to case, all that it is."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for pair in pairs:
        for name in set(names) & set(pair.shared):
            found[name].add(f"values {', '.join(map(str, pair.truth_values[name]))}")
    return {name: "; ".join(sorted(texts)) for name, texts in found.items()}


def _shared(pairs: Sequence[Pair]) -> list[str]:
    known = list(dict.fromkeys(name for pair in pairs for name in pair.shared))
    if not known:
        ours, theirs = (
            ", ".join(names) or "none" for names in (pairs[0].predicted_values, pairs[0].truth_values)
        )
        raise DataError(
            f"no structure is named by both sides: the prediction names {ours}; the truth names {theirs}; "
            "rename them in one of the two, say what they are made of (--structures whole=edema+core), or "
            "give another --truth-labels"
        )
    return known


def _joined(pair: Pair, asked: Parts) -> Pair:
    """With the values of the structures asked for, as far as both sides name what they are made of."""
    theirs = {name: union for name, parts in asked.items() if (union := _union(pair.truth_values, parts))}
    ours = {}
    for name in theirs:
        union = pair.predicted_values.get(name) or _union(pair.predicted_values, asked[name])
        if union:
            ours[name] = union
    annotated = None
    if pair.annotated is not None:
        annotated = tuple(name for name, parts in asked.items() if set(parts) <= set(pair.annotated))
    return replace(pair, predicted_values=ours, truth_values=theirs, annotated=annotated)


def _union(values: Mapping[str, Values], parts: Sequence[str]) -> Values:
    """The values of all parts; none if a part is not known."""
    if not all(part in values for part in parts):
        return ()
    return tuple(sorted({value for part in parts for value in values[part]}))


def _checked(pairs: Sequence[Pair], names: Sequence[str]) -> list[Pair]:
    """The pairs, if no structure has several values in the prediction, and one by that name in the truth.

    A prediction's `core` may hold what is painted over it, while the truth's label set has a `core` beside
    that: the same name then means two things.
    """
    for pair in pairs:
        for name in set(names) & set(pair.shared):
            ours, theirs = pair.predicted_values[name], pair.truth_values[name]
            if len(ours) > 1 and len(theirs) == 1:
                raise DataError(
                    f"{pair.predicted.name}: {name} is made of values {', '.join(map(str, ours))}, but of "
                    f"{theirs[0]} alone in the truth; say what it is made of there, e.g. `--structures "
                    f"{name}={name}+...`"
                )
    return list(pairs)
