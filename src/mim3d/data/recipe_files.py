"""Which files of a folder are the scans of a recipe's layout."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mim3d.data.mask_folder import mask_files
from mim3d.data.recipe import Layout, Part, Recipe

FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan of a part."""

    image: Path
    fields: dict[str, str]
    """What stands for `{case}` and the like."""
    label: Path | None
    """Where its label map should lie, if the part has any; there or not."""

    @property
    def labelled(self) -> bool:
        """Whether its label map is there."""
        return self.label is not None and (self.label.is_file() or bool(self.masks))

    @property
    def masks(self) -> dict[str, Path]:
        """Its files for single structures, if its labels are a folder of them."""
        return mask_files(self.label) if self.label is not None and self.label.is_dir() else {}


@dataclass(frozen=True, slots=True)
class Found:
    """The scans of a part."""

    part: Part
    scans: tuple[Scan, ...]


@dataclass(frozen=True, slots=True)
class Laid:
    """What a folder holds of a layout."""

    layout: Layout
    root: Path
    """RAW, or the folder in it that the layout's paths start from."""
    parts: tuple[Found, ...]

    @property
    def num_parts(self) -> int:
        """Parts to prepare of which something is there."""
        return sum(bool(found.scans) for found in self.parts if found.part.prepared)


def best_layout(recipe: Recipe, raw: Path) -> Laid:
    """The layout of which most parts are there, the first of equals."""
    return max(_all_layouts(recipe, raw), key=lambda laid: laid.num_parts)


def _all_layouts(recipe: Recipe, raw: Path) -> Iterator[Laid]:
    for layout in recipe.layouts:
        below = sorted(path for root in layout.roots for path in raw.glob(root) if path.is_dir())
        for root in (raw, *below):
            yield Laid(layout, root, tuple(Found(part, tuple(_scans(part, root))) for part in layout.parts))


def _scans(part: Part, root: Path) -> Iterator[Scan]:
    expression = matcher(part.images)
    for path in sorted(root.glob(FIELD.sub("*", part.images))):
        relative = path.relative_to(root).as_posix()
        match = expression.fullmatch(relative)
        hidden = any(name.startswith(".") for name in relative.split("/"))
        if hidden or match is None or path.is_dir() != part.series:
            continue
        if part.only is None or re.fullmatch(part.only, relative):
            fields = match.groupdict()
            label = None if part.labels is None else root / part.labels.format(**fields)
            yield Scan(path, fields, label)


def matcher(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern, with a group for each `{field}`."""
    seen: set[str] = set()
    written = []
    for place, piece in enumerate(FIELD.split(pattern)):
        if place % 2 == 0:
            written.append(re.escape(piece).replace(r"\*", "[^/]*"))
        else:
            written.append(f"(?P={piece})" if piece in seen else f"(?P<{piece}>[^/]+)")
            seen.add(piece)
    return re.compile("".join(written))
