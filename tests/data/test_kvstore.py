"""What TensorStore is told of a place, and which of its errors are damage."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fsspec.asyn import get_loop

from mim3d.data import kvstore as module
from mim3d.data.arrays import context
from mim3d.data.kvstore import kvstore, refuse_unreached
from mim3d.data.place import Url
from mim3d.errors import UnreachableError


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (Path("/a/b"), {"driver": "file", "path": "/a/b"}),
        (Path("/a/c/../b"), {"driver": "file", "path": "/a/b"}),
        (Url("gs://bucket/a/b"), {"driver": "gcs", "bucket": "bucket", "path": "a/b"}),
        (Url("https://host/a%20b"), {"driver": "http", "base_url": "https://host/a%20b"}),
    ],
)
def test_tensorstore_is_told_where(place: Path | Url, told: dict[str, str]) -> None:
    assert kvstore(place, context(1)) == told


def test_where_tensorstore_cannot_read_the_remedy_is_a_copy() -> None:
    with pytest.raises(UnreachableError, match=r"abfs://a/b: arrays can be read from s3.*`mim3d copy URL"):
        kvstore(Url("abfs://a/b"), context(1))


class Keys:
    """What s3fs finds credentials by."""

    def __init__(self, method: str | None) -> None:
        self.found = None if method is None else SimpleNamespace(method=method)

    async def get_credentials(self) -> Any:
        return self.found


AMAZON = "https://s3.eu-central-1.amazonaws.com"
OWN = "https://s3.hospital.example:9000"


@pytest.fixture
def _fresh() -> Iterator[None]:
    module._s3.cache_clear()
    yield
    module._s3.cache_clear()


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    ("server", "region", "anon", "method", "told"),
    [
        (AMAZON, "eu-central-1", False, "env", {"aws_credentials": {"type": "environment"}}),
        (AMAZON, "eu-central-1", False, "iam-role", {"aws_credentials": {"type": "default"}}),
        (AMAZON, "eu-central-1", True, None, {"aws_credentials": {"type": "anonymous"}}),
        (
            OWN,
            None,
            False,
            "shared-credentials-file",
            {"aws_credentials": {"type": "default"}, "endpoint": OWN, "aws_region": "us-east-1"},
        ),
    ],
)
def test_a_server_and_its_keys_are_those_of_s3fs(
    server: str,
    region: str | None,
    anon: bool,
    method: str | None,
    told: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = SimpleNamespace(
        anon=anon,
        loop=get_loop(),
        session=Keys(method),
        connect=lambda: None,
        s3=SimpleNamespace(meta=SimpleNamespace(endpoint_url=server, region_name=region)),
    )
    monkeypatch.setattr(Url, "filesystem", lambda _: files)
    found = kvstore(Url("s3://bucket/a/b"), context(1))
    assert found == {"driver": "s3", "bucket": "bucket", "path": "a/b", **told}


@pytest.mark.parametrize(
    "words", ["DATA_LOSS: Digest mismatch", "FAILED_PRECONDITION: Invalid blosc", "NOT_FOUND: missing"]
)
def test_what_was_read_and_is_wrong_is_damage(words: str) -> None:
    refuse_unreached(Url("s3://b/c"), ValueError(words))
    refuse_unreached(Url("s3://b/c"), OSError("a file is missing"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ValueError("ABORTED: Error in x: All 5 retry\nattempts failed: 503 [tensorstore_spec='{}']"),
            "(All 5 retry attempts failed: 503);",
        ),
        (ValueError("PERMISSION_DENIED: Forbidden"), "PERMISSION_DENIED: Forbidden"),
        (ValueError("UNAVAILABLE: x"), "UNAVAILABLE"),
        (TimeoutError(), "no answer in 120 s"),
        (
            ValueError("FAILED_PRECONDITION: range [-9, ?) was ignored by server"),
            "sends whole files where parts",
        ),
    ],
)
def test_what_was_not_read_is_no_damage(error: Exception, said: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        refuse_unreached(Url("s3://b/c"), error)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_in_a_folder_all_errors_are_of_what_was_read() -> None:
    refuse_unreached(Path("c"), ValueError("ABORTED: x"))
