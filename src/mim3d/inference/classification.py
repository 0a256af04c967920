"""Fine-tuned runs that classify, ready to predict."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import nn

from mim3d import __version__
from mim3d.config import ClassifyConfig
from mim3d.data.identity import identity
from mim3d.data.sources import Source
from mim3d.data.volume import Volume
from mim3d.downstream.classifier import load_classifier
from mim3d.errors import DataError
from mim3d.inference.classify import classify_together
from mim3d.inference.members import mirrored_along, require_agreement, weight_hashes
from mim3d.inference.outputs import NOTICE, Outputs, Stamp, found_in
from mim3d.inference.segment import Preprocessing, read_preprocessing
from mim3d.inference.window import Progress
from mim3d.metrics.classification import decide
from mim3d.train.run_folder import write_json

SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClassificationPredictor:
    """Classifies scans, and writes the probability of each class."""

    networks: tuple[nn.Module, ...]
    """In evaluation mode; the mean of their probabilities is taken."""
    config: ClassifyConfig
    """What all runs agree on stands in the first one's."""
    preprocessing: Preprocessing
    weights: tuple[str, ...]
    """SHA-256 of the weights of each network."""
    flips: tuple[int, ...] = ()
    """Axes along which volumes are mirrored too, in all combinations; the mean is taken."""
    device: str = "cpu"
    """Where the networks run."""
    unit: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.config.classes

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of the channels that a scan must have."""
        return self.preprocessing.of_channels

    def stamp(self, source: Source) -> Stamp | None:
        """What a prediction of a scan follows from; None if the scan cannot be read."""
        scan, settings = identity(source), {"flips": list(self.flips)}
        return None if scan is None else {"scan": scan, "weights": list(self.weights), **settings}

    def outputs(self, place: Path, *, named: bool, seg: bool, probabilities: Path | None) -> Outputs:
        """The file of probabilities, there being no label map; see `Predictor`."""
        assert not seg
        assert probabilities is None
        if named and (place.suffix.lower() != SUFFIX or place.is_dir()):
            raise DataError(f"{place.name}: classes are written as JSON; end the name in .json")
        return Outputs(names=place if named else place.with_name(place.name + SUFFIX))

    def found(self, outputs: Outputs) -> dict[str, float]:
        """Probability of each class, of a scan that is done."""
        return found_in(outputs.names, "probabilities")

    def __call__(
        self, channels: Sequence[Volume], _: Source, outputs: Outputs, stamp: Stamp, on_volume: Progress
    ) -> dict[str, float]:
        """Classify a scan and write what was found; probability of each class.

        Raises:
            MimError: If the scan cannot be used.
        """
        outputs.prepare()
        found = classify_together(
            self.networks,
            channels,
            self.preprocessing,
            self.config,
            flips=self.flips,
            device=self.device,
            on_volume=on_volume,
        )
        classes = self.config.classes
        (has,) = decide(np.array([list(found.values())]), multi_label=self.config.multi_label)
        content = {
            "notice": NOTICE,
            "target": self.config.target,
            "classes": list(classes),
            "probabilities": found,
            "decided": [name for name, its in zip(classes, has, strict=True) if its],
            "mim3d": __version__,
            "made_with": stamp,
        }
        write_json(outputs.names, content)
        return found


def load_classification(runs: Sequence[Path], *, device: str, flips: bool) -> ClassificationPredictor:
    """Networks of one or several runs that classify; see `load_predictor`.

    Raises:
        MimError: If a run cannot be used, or they do not agree.
    """
    loaded = [load_classifier(one, device) for one in runs]
    preprocessing = [read_preprocessing(one) for one in runs]
    said = [
        {
            "target": config.target,
            "classes": config.classes,
            "multi_label": config.multi_label,
            "crop": config.crop,
            "extent": config.extent,
            "intensity": config.intensity,
            **asdict(prepared),
        }
        for (_, config), prepared in zip(loaded, preprocessing, strict=True)
    ]
    require_agreement(runs, said)
    first = loaded[0][1]
    return ClassificationPredictor(
        networks=tuple(network for network, _ in loaded),
        config=first,
        preprocessing=preprocessing[0],
        weights=weight_hashes(runs),
        flips=mirrored_along(runs, [config.augmentation for _, config in loaded], ()) if flips else (),
        device=device,
    )
