import subprocess
import sys

import pytest

import mim3d


def test_every_public_name_is_what_it_says() -> None:
    names = [name for name in mim3d.__all__ if name != "__version__"]
    assert names == sorted(names)
    for name in names:
        function = getattr(mim3d, name)
        assert callable(function)
        assert function.__name__ == name
        assert function.__doc__


def test_public_names_are_listed() -> None:
    assert set(mim3d.__all__) == set(dir(mim3d))
    assert mim3d.__version__.count(".") == 2


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'mim3d' has no attribute 'nonsense'"):
        mim3d.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import mim3d; dir(mim3d)",
        "from mim3d.cli import main; main(['--help'])",
        "from mim3d.cli import main; main(['finetune', 'segmentation', '--help'])",
    ],
)
def test_neither_import_nor_help_needs_what_is_slow(code: str) -> None:
    slow = {"torch", "monai", "lightning", "tensorstore", "SimpleITK", "scipy", "matplotlib", "zarr"}
    probe = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        f"print(sorted({slow} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
