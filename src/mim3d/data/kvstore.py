"""Where TensorStore finds an array, in a folder or an object store, and what its errors mean there.

TensorStore reads from object stores by code of its own. What it needs to know of them is taken from fsspec's
side, which reads the small files, so that there is one way to configure both.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tensorstore
from fsspec.asyn import sync

from mim3d.data.place import WEB, Place, Url, reaching, unreached
from mim3d.errors import UnreachableError

PATIENCE = 120.0
"""Seconds until reading a part of an array from an object store is given up."""
_TRIES = {"max_retries": 5, "initial_delay": "500ms", "max_delay": "8s"}
RETRIES: Mapping[str, Any] = MappingProxyType(
    {f"{one}_request_retries": _TRIES for one in ("s3", "gcs", "http")}
)
"""Of TensorStore's context: without them it tries for a quarter of an hour."""
_DAMAGE = ("DATA_LOSS", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE")
"""How TensorStore's errors begin that tell of what was read; others tell that nothing was."""


def kvstore(place: Place, context: Any) -> dict[str, Any]:
    """TensorStore's description of a place, for reading.

    Raises:
        UnreachableError: If TensorStore cannot read there.
    """
    if isinstance(place, Path):
        return {"driver": "file", "path": str(place.resolve())}  # it knows no `..`
    bucket, _, path = place.text.partition("://")[2].partition("/")
    if place.scheme == "s3":
        with reaching(place):
            return {"driver": "s3", "bucket": bucket, "path": path, **_s3()}
    if place.scheme == "gs":
        return {"driver": "gcs", "bucket": bucket, "path": path}
    if place.scheme in WEB:
        return {"driver": "http", "base_url": place.text}
    if place.scheme == "memory":
        return _from_memory(place, context)
    raise UnreachableError(
        f"{place}: arrays can be read from s3, gs, http and https; copy the store: `mim3d copy URL FOLDER`"
    )


def refuse_unreached(place: Place, error: Exception) -> None:
    """Raise if an error of TensorStore means that nothing could be read, rather than that it is damaged.

    Raises:
        UnreachableError: If so.
    """
    words = str(error)
    if isinstance(place, Path):
        return
    if "ignored by server" in words:
        raise UnreachableError(
            f"{place}: this server sends whole files where parts are asked for (HTTP ranges), as `python -m "
            "http.server` does; take another one, or copy the store: `mim3d copy URL FOLDER`"
        ) from error
    if isinstance(error, TimeoutError):
        raise unreached(place, f"no answer in {PATIENCE:g} s") from error
    if isinstance(error, ValueError) and not words.startswith(_DAMAGE):
        raise unreached(place, _reason(words)) from error


def patience(place: Place) -> float | None:
    """Seconds to wait for what is read from a place; None: as long as it takes."""
    return None if isinstance(place, Path) else PATIENCE


def _reason(words: str) -> str:
    """The cause in an error of TensorStore, which comes last, in one line."""
    line = " ".join(words.partition(" [tensorstore_spec=")[0].split())
    tried = re.search(r"All \d+ retry attempts failed.*", line)
    return (tried[0] if tried else line)[:200]


@lru_cache(maxsize=1)
def _s3() -> dict[str, Any]:
    """Which server, if not Amazon's, and which credentials s3fs has found."""
    files = Url("s3://").filesystem()
    files.connect()
    if files.anon:
        found = {"aws_credentials": {"type": "anonymous"}}
    else:
        keys = sync(files.loop, files.session.get_credentials)
        type_ = "environment" if keys is not None and keys.method == "env" else "default"
        found = {"aws_credentials": {"type": type_}}
    server, region = files.s3.meta.endpoint_url, files.s3.meta.region_name
    if "amazonaws.com" in server:
        return found
    return {**found, "endpoint": server, "aws_region": region or "us-east-1"}


def _from_memory(url: Url, context: Any) -> dict[str, Any]:
    """TensorStore has a memory of its own: what fsspec's holds is put there."""
    spec = {"driver": "memory", "path": url.text.partition("://")[2] + "/"}
    kept = tensorstore.KvStore.open(spec, context=context).result()
    files = url.filesystem()
    for file in files.find(url.text):
        kept.write(file.partition(spec["path"])[2], files.cat_file(file)).result()
    return spec
