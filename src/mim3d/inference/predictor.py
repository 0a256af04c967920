"""What `mim3d predict` asks of fine-tuned runs, whatever their task is; by their kind it is chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mim3d.config import ClassifyConfig
from mim3d.config_file import read_run_config
from mim3d.data.sources import Source
from mim3d.data.volume import Volume
from mim3d.errors import ConfigError
from mim3d.inference.classification import load_classification
from mim3d.inference.members import refuse_twice, runs_of
from mim3d.inference.outputs import Outputs, Stamp
from mim3d.inference.segment import Sweep
from mim3d.inference.segmentation import load_segmentation
from mim3d.inference.window import Progress


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
            seg: Whether a DICOM SEG is wanted, of what makes label maps.
            probabilities: Folder for those of each structure, if they are wanted, of what makes label maps.

        Raises:
            DataError: If the name is none that such a file can have.
        """

    def found(self, outputs: Outputs) -> dict[str, float]:
        """What was found in a scan that is done."""

    def __call__(
        self,
        channels: Sequence[Volume],
        source: Source,
        outputs: Outputs,
        stamp: Stamp,
        on_windows: Progress,
        /,
    ) -> dict[str, float]:
        """Write all that is asked for about a scan, and its stamp; what was found, by name.

        Raises:
            MimError: If the scan cannot be used.
        """


def load_predictor(
    run: Path,
    also: Sequence[Path],
    how: Sweep,
    *,
    overlap: float | None,
    flips: bool,
    of_label_maps: Sequence[str] = (),
) -> Predictor:
    """Networks of one or several fine-tuned runs, of the task that the first one learnt.

    Args:
        run: Folder of a run, or of runs on several folds.
        also: Further ones.
        how: Settings, but for two that runs decide.
        overlap: Of windows; None: the first run's own.
        flips: Whether crops are mirrored too, along the axes that the runs were mirrored along in training.
        of_label_maps: Options that the user gave and that have a meaning for label maps alone.

    Raises:
        MimError: If a run cannot be used, they do not agree, or an option has no meaning for them.
    """
    runs = [member for one in (run, *also) for member in runs_of(one)]
    refuse_twice(runs)
    if not isinstance(read_run_config(runs[0]), ClassifyConfig):
        return load_segmentation(runs, how, overlap=overlap, flips=flips)
    if of_label_maps:
        verb, them = ("is", "it") if len(of_label_maps) == 1 else ("are", "them")
        named = ", ".join(of_label_maps)
        raise ConfigError(
            f"{run}: classifies whole volumes and makes no label map, "
            f"which {named} {verb} about; leave {them} out"
        )
    return load_classification(runs, device=how.device, flips=flips)
