"""Steps of a MONAI bundle that MONAI has none for, so that it gives the labels of `mim3d predict`.

MONAI's `Spacing` lays a coarser grid elsewhere than ours and does not smooth, and its windows are not evenly
spread.

Shapes: B batch, C channels, O outputs, X Y Z space.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor, NibabelWriter
from monai.inferers import Inferer
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample
from monai.utils import convert_to_dst_type
from torch import Tensor

from mim3d.config import Scaling, Window
from mim3d.data.intensity import apply_window, quantise, require_contrast, statistics, window_of
from mim3d.data.resample import to_spacing
from mim3d.data.volume import Volume
from mim3d.geometry import Triple, Vector
from mim3d.inference.decide import decide
from mim3d.inference.outputs import IN_HEADER
from mim3d.inference.window import Windows, sweep


class MarkedWriter(NibabelWriter):  # type: ignore[misc]  # untyped MONAI
    """MONAI's writer of NIfTI, with the notice of `mim3d predict` in the header."""

    @classmethod
    def create_backend_obj(cls, *args: Any, **named: Any) -> Any:
        """The image to be written."""
        image = super().create_backend_obj(*args, **named)
        image.header["descrip"] = IN_HEADER.encode()
        return image


class PreparedAsLearntd(MapTransform, InvertibleTransform):  # type: ignore[misc]  # untyped MONAI
    """Canonical volumes on the run's working grid, in [0, 1]; logits go back to the scan's own grid."""

    def __init__(
        self,
        keys: str | Sequence[str],
        modalities: Sequence[str],
        window: Mapping[str, float],
        scaling: Scaling,
        spacing: Sequence[float] | None,
    ) -> None:
        super().__init__(keys)
        self.modalities, self.scaling = tuple(modalities), scaling
        self.window = Window(low=window["low"], high=window["high"])
        self.spacing: Vector | None = None
        if spacing is not None:
            x, y, z = spacing
            self.spacing = (x, y, z)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare every key.

        Raises:
            DataError: If a channel has nothing to show.
        """
        return {**data, **{key: self._prepared(data[key]) for key in self.key_iterator(data)}}

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Interpolate every key back, linearly."""
        return {**data, **{key: self._restored(data[key]) for key in self.key_iterator(data)}}

    def _prepared(self, image: MetaTensor) -> MetaTensor:
        affine = image.affine.numpy(force=True)
        channels = [
            self._channel(Volume(array, affine, modality))
            for array, modality in zip(image.numpy(force=True), self.modalities, strict=True)
        ]
        arrays = torch.from_numpy(np.stack([one.array for one in channels]))
        made = MetaTensor(arrays, affine=torch.from_numpy(channels[0].affine), meta=image.meta)
        made.applied_operations = image.applied_operations
        made.meta["original_channel_dim"] = "no_channel"  # as of what is saved; else MONAI 1.6 drops an axis
        self.push_transform(made, orig_size=tuple(image.shape[1:]), extra_info={"affine": affine})
        return made

    def _channel(self, volume: Volume) -> Volume:
        """One channel on the working grid, in [0, 1]: in the order and rounding of `mim3d predict`."""
        kept = quantise(volume.array, volume.modality)
        spacing = volume.spacing if self.spacing is None else self.spacing
        working = to_spacing(replace(volume, array=kept.array), spacing)
        kept = replace(kept, array=working.array)
        measured = statistics(kept, volume.modality)
        require_contrast(volume.modality, measured)
        window = window_of(volume.modality, measured, self.window, self.scaling)
        shown = apply_window(kept.array.astype(np.float32) * np.float32(kept.slope), window)
        return replace(working, array=shown)

    def _restored(self, logits: MetaTensor) -> MetaTensor:
        done = self.pop_transform(logits)
        back = SpatialResample(
            mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float32
        )
        with back.trace_transform(False):
            found: MetaTensor = back(logits, done["extra_info"]["affine"], done["orig_size"])
        return found


class EvenWindowsInferer(Inferer):  # type: ignore[misc]  # untyped MONAI
    """Windows where `mim3d predict` has them; takes the arguments of MONAI's `SlidingWindowInferer`."""

    def __init__(self, roi_size: Sequence[int], overlap: float) -> None:
        super().__init__()
        x, y, z = roi_size
        self.crop, self.overlap = (x, y, z), overlap

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *_args: object, **_kwargs: object
    ) -> Tensor:
        """Logits (B, O, X, Y, Z) of volumes (B, C, X, Y, Z), on the device of the volumes."""
        found = torch.stack([self._logits(volume, network) for volume in inputs])
        logits: Tensor = convert_to_dst_type(found, inputs)[0]  # with the volumes' meta data
        return logits

    def _logits(self, volume: Tensor, network: Callable[..., Any]) -> Tensor:
        x, y, z = volume.shape[1:]
        windows = Windows(shape=(x, y, z), crop=self.crop, overlap=self.overlap)
        plain = torch.as_tensor(volume)

        def read(start: Triple, size: Triple) -> Tensor:
            (a, b, c), (u, v, w) = start, size
            return plain[:, a : a + u, b : b + v, c : c + w]

        planes = sweep(network, read, windows, device=str(volume.device))
        return torch.stack([logits for _, logits in planes], dim=windows.axis + 1)  # (O, X, Y, Z)


def painted(logits: MetaTensor) -> MetaTensor:
    """Label values (1, X, Y, Z) of logits (O, X, Y, Z) of structures that overlap."""
    values = decide(logits.as_tensor().cpu(), overlapping=True).astype(np.float32)
    return MetaTensor(torch.from_numpy(values)[None], affine=logits.affine, meta=logits.meta)
