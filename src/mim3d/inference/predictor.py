"""Fine-tuned runs ready to predict: networks that agree with one another, and what identifies them."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from mim3d import __version__
from mim3d.config import FinetuneConfig
from mim3d.config.structures import values
from mim3d.data.dicom_seg import Maker, write_seg
from mim3d.data.identity import identity
from mim3d.data.nifti import is_nifti
from mim3d.data.sources import Source
from mim3d.data.volume import Volume
from mim3d.downstream.segmenter import load_segmenter
from mim3d.errors import ConfigError, DataError
from mim3d.inference.outputs import Outputs, Stamp, Structures, begin, outputs_of, volumes_ml, write_labels
from mim3d.inference.probabilities import gathered
from mim3d.inference.segment import Model, Preprocessing, Sweep, read_preprocessing, segment
from mim3d.inference.window import Progress
from mim3d.sampling.augment import symmetry_of
from mim3d.train.crossval_folder import finished_members, is_crossval


class Predictor(Protocol):
    """What a run, or several, make of a scan: what `mim3d predict` asks of it, whatever its task is."""

    @property
    def unit(self) -> str:
        """Of what is found: `ml`; empty for probabilities."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what is found of a scan: structures, or classes."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of the channels that a scan must have."""

    def stamp(self, source: Source) -> Stamp | None:
        """What a prediction of a scan follows from; None if the scan cannot be read."""

    def outputs(self, place: Path, *, named: bool, seg: bool, probabilities: Path | None) -> Outputs:
        """The files about a scan.

        Args:
            place: Where; without a suffix, unless the user named the file.
            named: Whether the user did.
            seg: Whether a DICOM SEG is wanted.
            probabilities: Folder for those of each structure, if they are wanted.

        Raises:
            DataError: If the name is none that such a file can have.
        """

    def __call__(
        self, channels: Sequence[Volume], source: Source, outputs: Outputs, stamp: Stamp, on_windows: Progress
    ) -> dict[str, float]:
        """Write all that is asked for about a scan, and its stamp; what was found, by name.

        Raises:
            MimError: If the scan cannot be used.
        """


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SegmentationPredictor:
    """Segments scans, and writes what it found."""

    model: Model
    structures: Structures
    how: Sweep
    weights: tuple[str, ...]
    """SHA-256 of the weights of each network."""
    unit: str = "ml"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the structures."""
        return tuple(self.structures)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of the channels that a scan must have."""
        preprocessing = self.model.preprocessing
        return preprocessing.modalities or (preprocessing.modality,)

    def stamp(self, source: Source) -> Stamp | None:
        """What a prediction of a scan follows from; None if the scan cannot be read."""
        scan, how = identity(source), self.how
        settings = {"overlap": how.overlap, "blend": how.blend, "flips": list(how.flips)}
        return None if scan is None else {"scan": scan, "weights": list(self.weights), **settings}

    def outputs(self, place: Path, *, named: bool, seg: bool, probabilities: Path | None) -> Outputs:
        """The label map and what belongs to it; see `Predictor`."""
        if named and (not is_nifti(place) or place.is_dir()):
            raise DataError(f"{place.name}: label maps are written as NIfTI; end the name in .nii or .nii.gz")
        labels = place if named else place.with_name(place.name + ".nii.gz")
        return outputs_of(labels, self.columns, seg=seg, probabilities=probabilities)

    def __call__(
        self, channels: Sequence[Volume], source: Source, outputs: Outputs, stamp: Stamp, on_windows: Progress
    ) -> dict[str, float]:
        """Segment a scan and write all that is asked for about it; volume of each structure, ml.

        Raises:
            MimError: If the scan cannot be used.
        """
        stored = channels[0]
        outputs.prepare()
        with gathered(outputs.probabilities, stored) as on_slice:
            labels = segment(self.model, channels, self.how, on_windows=on_windows, on_slice=on_slice)
            volumes = volumes_ml(labels, self.structures, stored.spacing)
            begin(outputs, self.structures, volumes, stamp)
        if outputs.seg is not None:
            maker = Maker(version=__version__, weights="".join(self.weights))
            write_seg(outputs.seg, labels, stored.affine, source, self.structures, maker)
        write_labels(outputs, labels, stored)
        return volumes


def load_predictor(
    run: Path, also: Sequence[Path], how: Sweep, *, overlap: float | None, flips: bool
) -> Predictor:
    """Networks of one or several fine-tuned runs: here, by the kind of its configuration, a task is chosen.

    Args:
        run: Folder of a run, or of runs on several folds.
        also: Further ones.
        how: Settings, but for two that runs decide.
        overlap: Of windows; None: the first run's own.
        flips: Whether crops are mirrored too, along the axes that the runs were mirrored along in training.

    Raises:
        MimError: If a run cannot be used, or they do not agree.
    """
    runs = [member for one in (run, *also) for member in members_of(one)]
    loaded = [load_segmenter(one, how.device) for one in runs]
    preprocessing = [read_preprocessing(one) for one in runs]
    configs = [config for _, config in loaded]
    for other, config, prepared in zip(runs[1:], configs[1:], preprocessing[1:], strict=True):
        _require_agreement((runs[0], configs[0], preprocessing[0]), (other, config, prepared))
    first = configs[0]
    model = Model(
        networks=tuple(network for network, _ in loaded),
        preprocessing=preprocessing[0],
        crop=first.crop,
        overlapping=first.overlapping,
    )
    settings = asdict(how) | {"overlap": first.overlap if overlap is None else overlap}
    settings["flips"] = _flips(runs[0], first) if flips else ()
    return SegmentationPredictor(
        model=model,
        structures=values(first.structures),
        how=Sweep(**settings),
        weights=tuple(_hash(one / "weights.safetensors") for one in runs),
    )


def members_of(run: Path) -> list[Path]:
    """The runs that a folder stands for: itself, or those on several folds in it.

    Raises:
        CheckpointError: If there are none, or one is unfinished.
    """
    return [one.run for one in finished_members(run)] if is_crossval(run) else [run]


def _require_agreement(
    first: tuple[Path, FinetuneConfig, Preprocessing], other: tuple[Path, FinetuneConfig, Preprocessing]
) -> None:
    """Refuse networks whose probabilities cannot be averaged.

    Raises:
        ConfigError: If structures, crop or preprocessing differ.
    """
    (run, ours, prepared), (another, theirs, differently) = first, other
    pairs = {
        "structures": (ours.structures, theirs.structures),
        "crop": (ours.crop, theirs.crop),
        "preprocessing": (prepared, differently),
    }
    for what, (one, two) in pairs.items():
        if one != two:
            raise ConfigError(
                f"{another}: {what} is {two}, but {one} in {run}; runs whose probabilities "
                "are averaged must agree"
            )


def _flips(run: Path, config: FinetuneConfig) -> tuple[int, ...]:
    """Axes that crops were mirrored along in training."""
    if config.augmentation.flip == 0:
        raise ConfigError(f"{run}: was trained without mirroring (augmentation.flip 0); leave --flips out")
    return symmetry_of(config.structures, config.crop, (1.0, 1.0, 1.0)).axes  # spacing says nothing of axes


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
