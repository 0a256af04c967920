"""Fine-tuned runs that segment, ready to predict."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mim3d import __version__
from mim3d.config.structures import values
from mim3d.data.dicom_seg import Maker, write_seg
from mim3d.data.identity import identity
from mim3d.data.nifti import is_nifti
from mim3d.data.sources import Source
from mim3d.data.volume import Volume
from mim3d.downstream.segmenter import load_segmenter
from mim3d.errors import DataError
from mim3d.inference.members import mirrored_along, require_agreement, weight_hashes
from mim3d.inference.outputs import (
    Outputs,
    Stamp,
    Structures,
    begin,
    found_in,
    outputs_of,
    read_labels,
    volumes_ml,
    write_labels,
)
from mim3d.inference.probabilities import gathered
from mim3d.inference.segment import Model, Sweep, read_preprocessing, segment
from mim3d.inference.window import Progress


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
        return self.model.preprocessing.of_channels

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

    def found(self, outputs: Outputs) -> dict[str, float]:
        """Volume of each structure, ml, of a scan that is done."""
        return found_in(outputs.names, "volumes_ml")

    def __call__(
        self, channels: Sequence[Volume], source: Source, outputs: Outputs, stamp: Stamp, on_windows: Progress
    ) -> dict[str, float]:
        """Segment a scan and write all that is asked for about it; volume of each structure, ml.

        Where a SEG is all that is missing, it is made of the label map that is there.

        Raises:
            MimError: If the scan cannot be used, or the label map that is there.
        """
        stored = channels[0]
        outputs.prepare()
        if outputs.lack_seg_alone(stamp):
            self._write_seg(outputs, read_labels(outputs, self.structures, stored), stored, source)
            return self.found(outputs)
        with gathered(outputs.probabilities, stored) as on_slice:
            labels = segment(self.model, channels, self.how, on_windows=on_windows, on_slice=on_slice)
            volumes = volumes_ml(labels, self.structures, stored.spacing)
            begin(outputs, self.structures, volumes, stamp)
        write_labels(outputs, labels, stored)
        self._write_seg(outputs, labels, stored, source)
        return volumes

    def _write_seg(self, outputs: Outputs, labels: NDArray[Any], stored: Volume, source: Source) -> None:
        """The label map (X, Y, Z) as a SEG, if one is asked for."""
        if outputs.seg is not None:
            maker = Maker(version=__version__, weights="".join(self.weights))
            write_seg(outputs.seg, labels, stored.affine, source, self.structures, maker)


def load_segmentation(
    runs: Sequence[Path], how: Sweep, *, overlap: float | None, flips: bool
) -> SegmentationPredictor:
    """Networks of one or several runs that segment; see `load_predictor`.

    Raises:
        MimError: If a run cannot be used, or they do not agree.
    """
    loaded = [load_segmenter(one, how.device) for one in runs]
    preprocessing = [read_preprocessing(one) for one in runs]
    configs = [config for _, config in loaded]
    said = [
        {"structures": config.structures, "crop": config.crop, **asdict(prepared)}
        for config, prepared in zip(configs, preprocessing, strict=True)
    ]
    require_agreement(runs, said)
    first = configs[0]
    model = Model(
        networks=tuple(network for network, _ in loaded),
        preprocessing=preprocessing[0],
        crop=first.crop,
        overlapping=first.overlapping,
    )
    settings = asdict(how) | {"overlap": first.overlap if overlap is None else overlap}
    augmentations = [config.augmentation for config in configs]
    settings["flips"] = mirrored_along(runs, augmentations, first.structures) if flips else ()
    return SegmentationPredictor(
        model=model,
        structures=values(first.structures),
        how=Sweep(**settings),
        weights=weight_hashes(runs),
    )
