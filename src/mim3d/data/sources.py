"""What a data set says about each of its scans before any of them is read."""

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mim3d.data.channels import Choice
from mim3d.data.labels import LabelSet
from mim3d.data.parts import Parts
from mim3d.errors import ConfigError, DataError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Targets = tuple[tuple[str, str], ...]
"""Target and class, sorted by target; see `targets.py`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One scan to prepare, and what is known about it before it is read."""

    image: Path
    """What `read_volume` takes."""
    key: str
    """Stable identity within the data set (a relative path: private, it may hold a name)."""
    case: str | None = None
    """Name given by the data set, unique in it, safe as a folder; None where only a private key is known."""
    patient: str | None = None
    """Identifier of the patient (private), from the CSV or DICOM; None: the case stands for the patient."""
    split: Split | None = None
    """As stated by the data set, else None."""
    label: Path | None = None
    """Label map on the image's grid (what `read_volume` takes), or a DICOM RTSTRUCT or SEG."""
    labels: str = "labels"
    """Name of the label set that `label` belongs to; in `DataSet.label_sets` if the data set defines it."""
    annotated: tuple[str, ...] | None = None
    """Structures that were annotated in this case; None: all of the set."""
    parts: Parts | None = None
    """Where the slices of `image` are, if it is a DICOM volume that was found by its headers."""
    more: tuple[Path, ...] = ()
    """The files of the case's further channels, in their order; `image` is the first."""
    channel: Choice = None
    """Which channel or time point is meant of an `image` with several, from 0; `all`: a case of channels."""
    channels: tuple[str, ...] = ()
    """Names of the channels, if the data set gives them."""
    modalities: tuple[str, ...] = ()
    """As DICOM names them, of files that do not say: one for all channels, or one each; none: CT."""
    study: str | None = None
    """Identifier of the study (private), from DICOM: phases and kernels of one examination share it."""
    left_out: str = ""
    """What it is if it is no scan unless asked for (`a localizer`): it is put on record, not read."""
    targets: Targets = ()
    """What it is classified by."""
    fold: int | None = None
    """Part, from 0, that the data set deals it into for cross-validation, if it says so."""
    note: str = ""
    """Anything a reader of the catalog must know, e.g. "block of one patient"."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it is read from: the scan or its slices, its further channels, the label map."""
        image = [self.image] if self.parts is None else self.parts.files
        label = [] if self.label is None else [self.label]
        return (*image, *self.more, *label)

    def absolute(self) -> "Source":
        """The same with paths that do not depend on where a process was started."""
        label = None if self.label is None else self.label.absolute()
        more = tuple(file.absolute() for file in self.more)
        parts = None if self.parts is None else self.parts.absolute()
        return replace(self, image=self.image.absolute(), parts=parts, more=more, label=label)


@dataclass(frozen=True)
class DataSet:
    """Scans found together, and what their labels mean."""

    sources: tuple[Source, ...]
    label_sets: dict[str, LabelSet] = field(default_factory=dict)


def asked_for(data: DataSet, channel: Choice, modality: str | None) -> DataSet:
    """The data set with a channel and a modality for every scan that states none.

    Raises:
        ConfigError: If the channel is below 0, or the modality none of `MODALITIES`.
        DataError: If a case has no file of that channel.
    """
    if isinstance(channel, int) and channel < 0:
        raise ConfigError(f"channel must be 0 or more, or all, got {channel}; channels are counted from 0")
    sources = data.sources
    if channel is not None:
        sources = tuple(_of_channel(source, channel) for source in sources)
    if modality is not None:
        known = (as_modality(modality),)
        sources = tuple(replace(source, modalities=source.modalities or known) for source in sources)
    return replace(data, sources=sources)


def _of_channel(source: Source, channel: int | Literal["all"]) -> Source:
    """One of a case's files, or one of a file's channels."""
    files = (source.image, *source.more)
    if isinstance(source.channel, int):
        return source
    if channel == "all":
        return source if source.more else replace(source, channel="all")
    stated = max(len(files), len(source.modalities))
    if stated > 1 and channel >= stated:
        raise DataError(f"channel {channel} is asked, but a case has {stated}; 0 to {stated - 1} are there")
    modalities = source.modalities if len(source.modalities) < 2 else (source.modalities[channel],)
    one = replace(source, channels=(), modalities=modalities)
    if not source.more:
        return replace(one, channel=channel)
    return replace(one, image=files[channel], parts=source.parts if channel == 0 else None, more=())


MODALITIES = ("CT", "MR", "PT", "NM", "US", "XA", "RF", "CR", "DX", "MG", "OT")
"""As DICOM names them; OT is any other."""
_ALSO_CALLED = {"MRI": "MR", "PET": "PT", "SUV": "PT"}
"""What else modalities are called -> as DICOM does."""


def as_modality(word: str) -> str:
    """A modality as DICOM names it: `CT`, `MR`, `PT`, ...

    Raises:
        ConfigError: If it is not one of `MODALITIES`. Scaling hangs on it: `CTA` would not be taken for CT.
    """
    known = _ALSO_CALLED.get(word.strip().upper(), word.strip().upper())
    if known not in MODALITIES:
        raise ConfigError(f"modality must be as DICOM names it, {', '.join(MODALITIES)}, got {word!r}")
    return known


def safe_name(name: str) -> str:
    """A case name as a folder may bear it: letters, digits, `_`, `-`, `.`, not beginning with a dot."""
    return re.sub(r"^\.+", "", re.sub(r"[^A-Za-z0-9_.-]+", "_", name.strip())) or "_"


def require_unique(where: str, sources: list[Source]) -> tuple[Source, ...]:
    """Raise unless every named case comes once."""
    seen: set[str] = set()
    for source in sources:
        name = source.case or ""
        if name and name in seen:
            raise DataError(f"{where}: case {name} comes twice; give each scan a name of its own")
        seen.add(name)
    return tuple(sources)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: If the file is not JSON, or holds no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name}: not readable as JSON ({error}); mend the file") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path.name}: holds a {type(content).__name__}, a JSON object is needed; mend the file"
        )
    return content
