"""What the store is measured against: MONAI's PersistentDataset, blosc2 files, nnU-Net's resampling."""

from pathlib import Path
from typing import Any

import blosc2
import nibabel as nib
import numpy as np
from monai.data import PersistentDataset
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    MapTransform,
    RandSpatialCropd,
    Resize,
    ScaleIntensityRanged,
)
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from skimage.transform import resize

from mim3d.data.intensity import apply_window
from mim3d.data.volume import read_volume
from mim3d.geometry import Vector
from mim3d.presets import pretrain_preset

REGION, CROP = 192, 96
OCTANTS = [(x, y, z) for x in (0, CROP) for y in (0, CROP) for z in (0, CROP)]
CHILDREN = 4
ANISOTROPIC = 3.0
"""Ratio of spacings beyond which nnU-Net resamples the coarse axis apart."""
WINDOW = pretrain_preset("base").window


class Nested(MapTransform):  # type: ignore[misc]  # untyped MONAI
    """The region at half its sides, and four of its octants."""

    def __init__(self) -> None:
        super().__init__(["image"])
        self.resize = Resize((CROP,) * 3, mode="trilinear")

    def __call__(self, data: Any) -> list[Any]:
        """(1, 192, 192, 192) to five of (1, 96, 96, 96)."""
        region = data["image"]
        chosen = np.random.default_rng().permutation(len(OCTANTS))[:CHILDREN]
        corners = [OCTANTS[number] for number in chosen]
        octants = [region[:, x : x + CROP, y : y + CROP, z : z + CROP].contiguous() for x, y, z in corners]
        return [self.resize(region), *octants]


def persistent_dataset(scans: list[Path], cache: Path) -> PersistentDataset:
    """MONAI's way, with everything that is not random in the cache: float32 tensors of whole volumes."""
    transform = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            ScaleIntensityRanged("image", WINDOW.low, WINDOW.high, 0.0, 1.0, clip=True),
            RandSpatialCropd("image", (REGION,) * 3, random_size=False),
            Nested(),
        ]
    )
    dataset = PersistentDataset([{"image": str(scan)} for scan in scans], transform, cache_dir=cache)
    for number in range(len(dataset)):  # the first time fills the cache
        dataset[number]
    return dataset


class Blosc2Files:
    """Whole volumes in 16 bits, in chunks of 64^3 compressed by zstd."""

    def __init__(self, folder: Path, raw: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = []
        for scan in sorted(raw.glob("*.nii.gz")):
            file = folder / f"{scan.name.split('.')[0]}.b2nd"
            if not file.exists():
                array = np.clip(read_volume(scan).array, -1024, 3071).astype(np.int16)
                parameters = {"codec": blosc2.Codec.ZSTD, "clevel": 5}
                blosc2.asarray(array, urlpath=str(file), chunks=(64,) * 3, cparams=parameters)
            self.files.append(file)

    def sample(self, number: int) -> list[NDArray[np.float32]]:
        """The region's box, halved by means, and four of its octants, scaled."""
        random = np.random.default_rng(number)
        array = blosc2.open(str(self.files[number % len(self.files)]), mode="r")
        x, y, z = (int(random.integers(side - REGION + 1)) for side in array.shape)
        region = array[x : x + REGION, y : y + REGION, z : z + REGION]
        half = region.reshape(CROP, 2, CROP, 2, CROP, 2).mean(axis=(1, 3, 5), dtype=np.float32)
        corners = [OCTANTS[place] for place in random.permutation(len(OCTANTS))[:CHILDREN]]
        octants = [region[x : x + CROP, y : y + CROP, z : z + CROP] for x, y, z in corners]
        return [apply_window(one, WINDOW) for one in (half, *octants)]


def read_only(scan: Path) -> NDArray[Any]:
    """Read and decompress a NIfTI file, voxels as they are stored."""
    return np.asarray(nib.load(scan).dataobj)


def resampled_like_nnunet(array: NDArray[Any], spacing: Vector, wanted: Vector) -> NDArray[np.float32]:
    """By cubic splines, plane by plane where one axis is much coarser, and that axis by nearest neighbour.

    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, supplementary note 2.
    """
    shape = tuple(
        round(side * was / new) for side, was, new in zip(array.shape, spacing, wanted, strict=True)
    )
    values = array.astype(np.float32)
    coarse = int(np.argmax(spacing))
    if max(spacing) / min(spacing) <= ANISOTROPIC:
        return np.asarray(resize(values, shape, order=3, mode="edge", anti_aliasing=False), np.float32)
    planes = np.moveaxis(values, coarse, 0)
    size = tuple(side for axis, side in enumerate(shape) if axis != coarse)
    flat = np.stack([resize(plane, size, order=3, mode="edge", anti_aliasing=False) for plane in planes])
    places = (np.arange(shape[coarse]) + 0.5) * len(flat) / shape[coarse] - 0.5
    grid = np.meshgrid(places, *map(np.arange, size), indexing="ij")
    found = map_coordinates(flat, grid, order=0, mode="nearest")
    return np.asarray(np.moveaxis(found, 0, coarse), np.float32)
