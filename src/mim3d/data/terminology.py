"""Codes of what is segmented, as DICOM wants it said: SNOMED CT, from `terminology.json` beside this file."""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

_FILE = Path(__file__).with_name("terminology.json")


class Code(NamedTuple):
    """A concept of SNOMED CT."""

    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Term:
    """What a structure is."""

    category: Code
    """Kind of thing: an anatomical structure, one that is morphologically abnormal, or tissue."""
    kind: Code
    """Which of them."""
    side: Code | None = None
    """Left or right, if the name says so."""
    known: bool = True
    """False for a name without a code of its own, for which that of tissue stands."""


def term_of(name: str) -> Term:
    """The term of a structure by its name: `liver`, `kidney_right`, `Left Lung`."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).split()
    table = _table()
    sides = [word for word in words if word in table["sides"]]
    rest = " ".join(word for word in words if word not in table["sides"])
    whole = table["structures"].get(" ".join(words))  # a left ventricle is no side of anything
    found = whole or table["structures"].get(rest)
    if found is None or (len(sides) > 1 and whole is None):
        tissue = Code(*table["unknown"])
        return Term(Code(*table["categories"]["tissue"]), tissue, known=False)
    kind = Code(found["code"], found["meaning"])
    side = Code(*table["sides"][sides[0]]) if sides and whole is None else None
    return Term(Code(*table["categories"][found["category"]]), kind, side)


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    """The file, with structures by each of their names."""
    content: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    content["structures"] = {name: one for one in content["structures"] for name in one["names"]}
    return content
