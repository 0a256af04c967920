"""Weights to share: configuration, preprocessing, weights, model card; the folder loads as a run does."""

from pathlib import Path
from shutil import copyfile

from safetensors.torch import save_file

from mim3d.config_file import write_config
from mim3d.downstream.hub import NEEDED
from mim3d.elsewhere.card import card, facts_of
from mim3d.errors import CheckpointError
from mim3d.train.checkpoint import finished_weights, read_tensors
from mim3d.train.run_folder import write_json

CONFIG, PREPROCESSING, WEIGHTS = NEEDED


def write_folder(run: Path, folder: Path, place: str, *, with_decoder: bool) -> int:
    """Write what is shared of a run, and nothing else: no provenance, no names of stores or cases.

    Args:
        run: Folder of a finished run.
        folder: Where to write; must exist.
        place: By which the weights will be loaded.
        with_decoder: Whether to include what is not the encoder's.

    Returns:
        The number of values in the weights.

    Raises:
        CheckpointError: If the run is unfinished, or its files are missing or damaged.
        ConfigError: If its configuration cannot be read.
    """
    facts = facts_of(run)
    weights = finished_weights(run)
    stored = read_tensors(weights)
    kept = {name: t for name, t in stored.items() if with_decoder or name.startswith("encoder.")}
    if not kept:
        raise CheckpointError(
            f"{run}: its weights have no encoder of MiM's; export the run of another network"
        )
    write_config(facts.config, folder / CONFIG)
    write_json(folder / PREPROCESSING, facts.preprocessing)
    if len(kept) == len(stored):
        copyfile(weights, folder / WEIGHTS)
    else:
        save_file(kept, folder / WEIGHTS)
    (folder / "README.md").write_text(card(facts, place, with_decoder=with_decoder))
    return sum(tensor.numel() for tensor in kept.values())
