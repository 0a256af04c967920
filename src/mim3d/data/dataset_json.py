"""Data sets described by a JSON: nnU-Net (version 1 and 2), Medical Segmentation Decathlon, lists of MONAI.

nnU-Net 2 lists nothing: cases are the files of imagesTr and imagesTs, labels lie in labelsTr and labelsTs,
and a splits_final.json beside it has the folds. The others list their files in `training`, `validation` and
`test`; entries may bear a number `fold`.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from mim3d.data.labels import LabelSet
from mim3d.data.sources import DataSet, Source, Split, read_json, require_unique, safe_name
from mim3d.errors import DataError

DATASET = "dataset.json"
"""Name of the description, in the folder of the scans."""
LABELS = "labels"
"""Name of the one label set that a dataset.json defines."""
SPLITS_FINAL = "splits_final.json"
"""Where nnU-Net keeps its folds."""
_CHANNEL = "_0000"
"""How nnU-Net ends the name of a case's first channel."""


def read_dataset_json(path: Path, fold: int | None = None, *, labels_alone: bool = False) -> DataSet:
    """Scans, labels and splits of the folder that a dataset.json lies in; its test files are the test split.

    Args:
        path: The description; its own paths are relative to its folder.
        fold: Which fold is to validate on, where there are folds; by default 0, unless validation is listed.
        labels_alone: Whether a description without scans will do, as its labels are all that is wanted.

    Raises:
        DataError: If the description is broken, lists missing files, overlapping regions or a scan twice, or
            has no such fold.
    """
    content = read_json(path)
    channels = _channel_names(path, content)
    listed = is_datalist(content)
    found = (
        _listed(path, content, fold) if listed else in_folds(path, list(_found(path.parent, content)), fold)
    )
    sources = [_with_channels(source, channels) for source in found]
    if not sources and not labels_alone:
        raise DataError(
            f"{path.name}: no scan is listed, and none lies in imagesTr or imagesTs beside it; put scans "
            "there, or list them"
        )
    return DataSet(require_unique(path.name, sources), _label_sets(path, content.get("labels", {})))


def _channel_names(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    """Names of the channels in their order: nnU-Net 2 and the Decathlon number them from "0"."""
    named = content.get("channel_names", content.get("modality", {}))
    if isinstance(named, str):  # lists with folds say "CT"
        return (named,)
    try:
        return tuple(str(named[key]) for key in sorted(named, key=int))
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f'{path.name}: channel_names (or modality) is {json.dumps(named)}; {{"0": "CT", ...}} is needed: '
            "mend the description"
        ) from error


def _with_channels(source: Source, channels: tuple[str, ...]) -> Source:
    """A case with the files of all its channels, or all channels of its file, and what they are."""
    modalities = tuple(_modality(name) for name in channels)
    if len(channels) < 2:
        return replace(source, modalities=modalities)
    channelled = re.fullmatch(r"(.*)_0000(\..*)", source.image.name)
    if channelled is None:  # the Decathlon's: one file with a fourth axis
        return replace(source, channel="all", channels=channels, modalities=modalities)
    stem, ending = channelled.groups()
    more = tuple(source.image.with_name(f"{stem}_{number:04d}{ending}") for number in range(1, len(channels)))
    gone = [file.name for file in more if not file.is_file()]
    if gone:
        raise DataError(
            f"dataset.json: states {len(channels)} channels, but there is no {gone[0]}; add it, or mend "
            "channel_names"
        )
    return replace(source, more=more, channels=channels, modalities=modalities)


def _modality(name: str) -> str:
    """As nnU-Net understands names: CT keeps its units, everything else is scaled by the case."""
    word = name.strip().upper()
    if word == "CT" or word.startswith("CT_"):
        return "CT"
    return "PT" if word in ("PET", "PT", "SUV") else "MR"


def _found(folder: Path, content: dict[str, Any]) -> Iterator[Source]:
    """nnU-Net 2: what lies in imagesTr and imagesTs."""
    ending = str(content.get("file_ending", ".nii.gz"))
    parts: tuple[tuple[str, Split | None], ...] = (("Tr", None), ("Ts", "test"))
    for part, split in parts:
        for image in sorted(folder.glob(f"images{part}/*{_CHANNEL}{ending}")):
            name = image.name.removesuffix(_CHANNEL + ending)
            label = folder / f"labels{part}" / (name + ending)
            if not name.startswith("."):
                yield _source(folder, image, name, label if label.is_file() else None, split)


def is_datalist(content: dict[str, Any]) -> bool:
    """Whether a JSON lists files to train on."""
    return isinstance(content.get("training"), list)


def _listed(path: Path, content: dict[str, Any], fold: int | None) -> list[Source]:
    """Decathlon, nnU-Net 1 and MONAI: what `training`, `validation` and `test` list."""
    entries = [
        (part, entry)
        for part in ("training", "validation", "test")
        for entry in map(_entry, repeat(path.name), content.get(part) or [])
    ]
    files = [_require_file(path, entry.image) for _, entry in entries]
    _refuse_twice(path, [(part, file) for (part, _), file in zip(entries, files, strict=True)])
    held_out = _held_out(path, [entry for _, entry in entries], fold, bool(content.get("validation")))
    stated: dict[str, Split] = {"validation": "val", "test": "test"}
    sources = []
    for (part, entry), file, name in zip(entries, files, _names_of(entries), strict=True):
        split = stated.get(part) or _split_of(entry, held_out, bool(content.get("validation")))
        label = _require_file(path, entry.label) if entry.label else None
        sources.append(replace(_source(path.parent, file, name, label, split), fold=entry.fold))
    return sources


class Entry(NamedTuple):
    """A scan that a list names."""

    image: str
    label: str
    """Empty where it has none."""
    fold: int | None


def _entry(where: str, entry: Any) -> Entry:
    fields = entry if isinstance(entry, dict) else {"image": entry}
    image, label, fold = fields.get("image"), fields.get("label") or "", fields.get("fold")
    if isinstance(image, str) and isinstance(label, str) and (fold is None or type(fold) is int):
        return Entry(image, label, fold)
    raise DataError(
        f'{where}: lists {json.dumps(entry)}; {{"image": "path", "label": "path"}} or a path is '
        "needed, perhaps with a number `fold`: mend the list"
    )


def _refuse_twice(path: Path, listed: Sequence[tuple[str, Path]]) -> None:
    first: dict[Path, str] = {}
    for part, file in listed:
        if file in first:
            raise DataError(
                f"{path.name}: lists {file.name} under {first[file]} and {part}; a scan is in one split: "
                "take it off one of them"
            )
        first[file] = part


def _held_out(path: Path, entries: Sequence[Entry], fold: int | None, validated: bool) -> int | None:
    """The fold to validate on, None if there is none."""
    folds = sorted({entry.fold for entry in entries if entry.fold is not None})
    if fold is not None and fold not in folds:
        known = ", ".join(map(str, folds)) or "none"
        raise DataError(f"{path.name}: fold {fold} is asked, it has {known}; ask for one that it has")
    return (None if validated or not folds else folds[0]) if fold is None else fold


def _split_of(entry: Entry, held_out: int | None, validated: bool) -> Split | None:
    """Split of a training entry."""
    if held_out is not None and entry.fold is not None:
        return "val" if entry.fold == held_out else "train"
    return "train" if validated or held_out is not None else None


def _names_of(entries: Sequence[tuple[str, Entry]]) -> list[str]:
    """Names of cases: of the files, with their folders where files in several folders have one name."""
    paths = [Path(entry.image) for _, entry in entries]
    names = [_stem(path) for path in paths]
    if len(set(names)) == len(names):
        return names
    folders = [[part for part in path.parent.parts if part not in (".", "/")] for path in paths]
    return ["_".join([*parts, name]) for parts, name in zip(folders, names, strict=True)]


def in_folds(path: Path, sources: list[Source], fold: int | None) -> list[Source]:
    """The sources of nnU-Net with splits as the splits_final.json beside the description has them, if any."""
    file = path.with_name(SPLITS_FINAL)
    folds = _read_folds(file) if file.is_file() else []
    if fold is not None and not 0 <= fold < len(folds):
        raise DataError(
            f"{path.name}: fold {fold} is asked, {SPLITS_FINAL} beside it has {len(folds)} folds, counted "
            "from 0; ask for one of them, or for none"
        )
    if not folds:
        return sources
    chosen: dict[str, Split] = dict.fromkeys(folds[fold or 0]["train"], "train")
    chosen.update(dict.fromkeys(folds[fold or 0]["val"], "val"))
    held = [(name, number) for number, one in enumerate(folds) for name in one["val"]]
    fold_of = dict(held) if len(dict(held)) == len(held) else {}  # none where a case is held out twice
    found = []
    for source in sources:
        name = _name_of(source)
        split = source.split or chosen.get(name, "train")
        found.append(replace(source, split=split, fold=None if source.split else fold_of.get(name)))
    return found


def _name_of(source: Source) -> str:
    """Name of a case as nnU-Net has it."""
    return _stem(source.image).removesuffix(_CHANNEL)


def _read_folds(file: Path) -> list[dict[str, list[str]]]:
    try:
        folds = json.loads(file.read_text(encoding="utf-8"))
        return [{part: [str(name) for name in fold[part]] for part in ("train", "val")} for fold in folds]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f'{file.name}: not a list of {{"train": [names], "val": [names]}} ({error}); mend or remove it'
        ) from error


def _source(folder: Path, image: Path, name: str, label: Path | None, split: Split | None) -> Source:
    key = Path(os.path.relpath(image, folder)).as_posix()
    return Source(image=image, key=key, case=safe_name(name), split=split, label=label, labels=LABELS)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(path.with_suffix("").suffix or path.suffix)


def _require_file(path: Path, listed: str) -> Path:
    """The file that a description lists, or nnU-Net 1's first channel of it."""
    file = path.parent / listed
    stem = _stem(file)
    first_channel = file.with_name(stem + _CHANNEL + file.name.removeprefix(stem))
    for candidate in (file, first_channel):
        if candidate.is_file():
            return candidate
    raise DataError(
        f"{path.name}: lists {file.name}, but there is no such file; add it, or take it off the list (paths "
        "are relative to the list)"
    )


def _label_sets(path: Path, labels: dict[str, Any]) -> dict[str, LabelSet]:
    """The label set of a dataset.json: {name: value} in nnU-Net 2, {value: name} in the others."""
    try:
        named = {
            str(value) if str(name).isdigit() else str(name): int(name if str(name).isdigit() else value)
            for name, value in labels.items()
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path.name}: labels {labels} must give each name one value; overlapping regions are not read: "
            "write them as separate values"
        ) from error
    ignore = named.pop("ignore", None)
    structures = {name: value for name, value in named.items() if value != 0}
    return {LABELS: LabelSet(LABELS, structures, ignore=ignore)} if structures else {}
