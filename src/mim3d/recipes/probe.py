"""What both probes do: the encoders that are asked for, one after another, and a result to read again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mim3d.config import FinetuneConfig
from mim3d.config_file import RunConfig
from mim3d.data.catalog import Case
from mim3d.data.place import name_at
from mim3d.data.sources import Split
from mim3d.data.store import Store
from mim3d.downstream.backbone import compare_preprocessing
from mim3d.downstream.frozen import RANDOM, Frozen, config_of, load_frozen, with_checkpoints
from mim3d.downstream.hub import weights_folder
from mim3d.errors import ConfigError
from mim3d.geometry import Triple
from mim3d.presets import pretrain_preset
from mim3d.recipes.looks import note_look, refuse_seen, warn_of_other_keys
from mim3d.recipes.messages import say
from mim3d.recipes.run import preprocessing
from mim3d.reporting.text_table import NOTHING, counted, number_text
from mim3d.run_files import PROVENANCE
from mim3d.train.run_folder import write_json


def encoders(
    places: Sequence[str], store: Store, *, every_checkpoint: bool, preset: str, seed: int
) -> Iterator[Frozen]:
    """The encoders that are asked for, each loaded when it is its turn; warns of what they learnt from.

    Args:
        places: Run folders, checkpoints within them, files of SwinUNETR's encoder, `org/name` of a hub, or
            `none`.
        store: Whose cases they will see.
        every_checkpoint: Whether a run stands for all checkpoints that it has kept, too.
        preset: Sizes of random weights where no other encoder is named.
        seed: Of random weights.

    Raises:
        CheckpointError: If there is no such run, or it learnt from another kind of scans.
    """
    places = [place if place == RANDOM else str(weights_folder(place)) for place in places]
    named = _configs(places)
    sizes = named[0] if named else pretrain_preset(preset)  # random weights beside others are of their kind
    if every_checkpoint:
        places = [one for place in places for one in with_checkpoints(place)]
    said: set[str] = set()
    for place in places:
        found = load_frozen(place, sizes, seed=seed)
        if found.run is not None:
            config = FinetuneConfig(
                architecture=found.config.architecture,
                window=found.config.window,
                scaling=found.config.scaling,
            )
            differences = compare_preprocessing(found.run, preprocessing(config, store))
            found = replace(found, differences=tuple(differences))
        for line in (f"warning: {found.name}: {line}" for line in found.differences):
            if line not in said:
                said.add(line)
                say(line)
        yield found


def note_test(frozen: Frozen, store: Store, split: Split, cases: Sequence[Case]) -> None:
    """Keep with a run that a probe of it looks at the test split; exported weights do not keep it.

    Raises:
        DataError: If patients of these cases taught the run with labels.
    """
    run = frozen.run
    if split != "test" or run is None:
        if split == "test" and frozen.step is None:
            say(f"warning: {frozen.name} is a file: that this looks at the split test is not kept anywhere")
        return
    if not (run / PROVENANCE).exists():
        say(f"warning: {run} holds weights alone: that this looks at the split test is not kept there")
        return
    warn_of_other_keys(run, store)
    refuse_seen(run, split, cases)
    note_look(run, split, store)


def require_asked(out: Path, split: str) -> None:
    """Refuse what cannot be written or scored, before anything is computed.

    Raises:
        ConfigError: If `out` is there already or its name does not end in .json, or `split` is neither `val`
            nor `test`: a probe learns from `train`.
    """
    if split not in ("val", "test"):
        raise ConfigError(f"split must be val or test, got {split!r}; a probe learns from the cases of train")
    if out.is_file():
        raise ConfigError(f"{out}: is there already; name a new file, or delete it")
    if out.is_dir() or out.suffix != ".json":
        raise ConfigError(f"{out}: the result is a JSON file; end its name in .json, e.g. {out.name}.json")


def write_result(out: Path, store: Store, settings: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Write what came out, encoder by encoder, with what was asked and of which data."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {**settings, "store": name_at(store.path), "catalog": store.hash, "encoders": list(rows)})
    say(f"{out}: {counted(len(rows), 'encoder')}")


def row_of(frozen: Frozen, crop: Triple, seconds: float, measured: dict[str, Any]) -> dict[str, Any]:
    """What is written of an encoder, which was shown crops of so many voxels."""
    config = frozen.config
    return {
        "encoder": frozen.name,
        "step": frozen.step,
        "network": config.network if isinstance(config, FinetuneConfig) else "mim",
        "crop": list(crop),
        "differences": list(frozen.differences),
        "seconds": round(seconds, 1),
        **measured,
    }


def table_row(frozen: Frozen, scores: Iterable[float | None], seconds: float) -> tuple[str, ...]:
    """An encoder in a table: its name, step, scores and time."""
    step = NOTHING if frozen.step is None else f"{frozen.step:,}"
    return (frozen.name, step, *map(number_text, scores), f"{seconds:.0f}")


def _configs(places: Sequence[str]) -> list[RunConfig]:
    """Of the encoders that are named; what is none, or named twice, is refused before the first is looked at.

    Raises:
        MimError: If there is such a place.
    """
    for number, place in enumerate(places):
        if place in places[:number]:
            raise ConfigError(f"{place}: named twice; name each encoder once")
    return [config_of(place) for place in places if place != RANDOM]
