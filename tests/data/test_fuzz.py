"""Some of what scripts/fuzz_readers.py does by the thousand: mutated scans end as volumes or as errors."""

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mim3d.data.volume import read_volume
from mim3d.errors import DataError

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("fuzz_readers")
    sys.path.remove(str(SCRIPTS))


@pytest.mark.filterwarnings("ignore")  # of readers, about what is broken
def test_mutants_are_volumes_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    fuzz.write_seeds(tmp_path / "seeds")
    mutants = [fuzz.Mutant(99, number, tmp_path / "seeds", tmp_path / "kept") for number in range(150)]
    found = Counter(fuzz.read(mutant) for mutant in mutants)
    assert found.keys() == {"volume", "refused"}
    assert min(found.values()) > 20


@pytest.mark.filterwarnings("ignore")
@given(
    st.binary(max_size=400), st.sampled_from([".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".nhdr", ".dcm"])
)
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_volume(path)


@pytest.mark.filterwarnings("ignore")
@given(st.binary(min_size=1, max_size=348), st.integers(0, 347))
def test_any_header_gives_a_volume_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, place: int
) -> None:
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    whole = bytearray(nib.Nifti1Image(voxels, np.eye(4)).to_bytes())
    whole[place : place + len(content)] = content[: 348 - place]
    path = tmp_path_factory.getbasetemp() / "header.nii"
    path.write_bytes(whole)
    try:
        volume = read_volume(path)
    except DataError:
        return
    assert 0 < volume.array.size <= 120
