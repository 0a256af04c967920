"""Data sets described by a dataset.json: nnU-Net (version 1 and 2) and Medical Segmentation Decathlon.

nnU-Net 2 lists nothing: cases are the files of imagesTr and imagesTs, labels lie in labelsTr and labelsTs.
The Decathlon and nnU-Net 1 list their training and test files.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mim3d.data.labels import LabelSet
from mim3d.data.sources import DataSet, Source, Split, read_json, require_unique, safe_name
from mim3d.errors import DataError

LABELS = "labels"
"""Name of the one label set that a dataset.json defines."""
_CHANNEL = "_0000"
"""How nnU-Net ends the name of a case's first channel."""


def read_dataset_json(path: Path) -> DataSet:
    """Scans, labels and splits of the folder that a dataset.json lies in; its test files are the test split.

    Raises:
        DataError: If the description is broken, lists missing files or overlapping regions.
    """
    content = read_json(path)
    channels = _channel_names(path, content)
    listed = isinstance(content.get("training"), list)
    found = _listed(path.parent, content) if listed else _found(path.parent, content)
    sources = [_with_channels(source, channels) for source in found]
    if not sources:
        raise DataError(f"{path.name}: no scan is listed, and none lies in imagesTr or imagesTs beside it")
    return DataSet(require_unique(path.name, sources), _label_sets(path, content.get("labels", {})))


def _channel_names(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    """Names of the channels in their order: nnU-Net 2 and the Decathlon number them from "0"."""
    named = content.get("channel_names", content.get("modality", {}))
    if isinstance(named, str):
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


def _listed(folder: Path, content: dict[str, Any]) -> Iterator[Source]:
    """Decathlon and nnU-Net 1: what `training` and `test` list."""
    parts: tuple[tuple[str, Split | None], ...] = (("training", None), ("test", "test"))
    for part, split in parts:
        for entry in content.get(part) or []:
            image, label = _named(entry)
            file = _require_file(folder / image)
            yield _source(
                folder, file, _stem(Path(image)), _require_file(folder / label) if label else None, split
            )


def _named(entry: Any) -> tuple[str, str]:
    """Image and label that an entry names, the label empty if it names none."""
    fields = entry if isinstance(entry, dict) else {"image": entry}
    image, label = fields.get("image"), fields.get("label") or ""
    if not isinstance(image, str) or not isinstance(label, str):
        raise DataError(
            f'dataset.json: lists {json.dumps(entry)}; {{"image": "path", "label": "path"}} or a path is '
            "needed: mend the list"
        )
    return image, label


def _source(folder: Path, image: Path, name: str, label: Path | None, split: Split | None) -> Source:
    key = Path(os.path.relpath(image, folder)).as_posix()
    return Source(image=image, key=key, case=safe_name(name), split=split, label=label, labels=LABELS)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(path.with_suffix("").suffix or path.suffix)


def _require_file(path: Path) -> Path:
    """The file, or nnU-Net 1's first channel of it."""
    stem = _stem(path)
    first_channel = path.with_name(stem + _CHANNEL + path.name.removeprefix(stem))
    for candidate in (path, first_channel):
        if candidate.is_file():
            return candidate
    raise DataError(
        f"dataset.json: lists {path.name}, but there is no such file; add it, or take it off the list"
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
