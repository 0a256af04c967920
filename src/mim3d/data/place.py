"""Where a store is: in a local folder, or at a URL in an object store.

A local place is a `Path`. Any other is a `Url`, which knows those of a Path's words that reading and copying
a store takes, so that the rest of the code need not ask which of the two it has. Its bytes come through
fsspec; the arrays of a case come through TensorStore (`kvstore.py`).
"""

import posixpath
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, unquote

import fsspec
from fsspec.asyn import sync

from mim3d.errors import MimError, StoreError, UnreachableError

PATIENCE = 60.0
"""Seconds until a request of at most `PIECE` is given up."""
PAUSES = (0.5, 2.0)
"""Seconds before a request by HTTP is made again; what speaks to S3 and GCS does that by itself."""
PIECE = 16 * 2**20
"""Bytes asked for at once."""
WEB = ("http", "https")
EXTRAS = {"s3": "s3", "gs": "gcs"}
"""Extra of this package that brings what reads there, by scheme."""
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^/]*/*(?P<path>.*))")
_SECRET = re.compile(r"[?#]|//[^/]*@")
"""What a URL has that carries a signature, a user or a password."""


@dataclass(frozen=True, order=True)
class Url:
    """A folder or a file in an object store; small to pickle, safe to use in any process and thread."""

    text: str
    """Without a slash at its end; of http and https percent-encoded."""

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> "Url":
        scheme, _, path = self.text.partition("://")
        path = posixpath.normpath(f"{path}/{quote(name) if scheme in WEB else name}")
        return Url(f"{scheme}://{path}")

    @property
    def scheme(self) -> str:
        """What comes before `://`."""
        return self.text.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part, as `Path.name`."""
        last = self.text.rpartition("/")[2]
        return unquote(last) if self.scheme in WEB else last

    @property
    def parent(self) -> "Url":
        """What it lies in, as `Path.parent`."""
        return self / ".."

    def is_file(self) -> bool:
        """Whether there is a file, as `Path.is_file`.

        Raises:
            UnreachableError: If that cannot be found out.
        """
        try:
            self._ask(
                "cat_file", self.text, start=0, end=1
            )  # `info` takes a busy server's no for a missing file
        except FileNotFoundError:
            return False
        return True

    def pieces(self) -> Iterator[bytes]:
        """The content in pieces.

        Raises:
            FileNotFoundError: If there is no such file.
            UnreachableError: If it cannot be read.
        """
        first = self._ask("cat_file", self.text, start=0, end=PIECE)
        yield first
        if len(first) == PIECE:
            size = self._ask("info", self.text)["size"]
            for start in range(PIECE, size, PIECE):
                yield self._ask("cat_file", self.text, start=start, end=min(start + PIECE, size))

    def read_bytes(self) -> bytes:
        """The content; errors are those of `pieces`."""
        return b"".join(self.pieces())

    def read_text(self) -> str:
        """The content as text; errors are those of `pieces`."""
        return self.read_bytes().decode()

    def write_bytes(self, content: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            UnreachableError: If it cannot be written.
        """
        self._put("pipe_file", self.text, content)

    def take(self, file: Path) -> None:
        """Write a file whole or not at all, with the content of a local one.

        Raises:
            UnreachableError: If it cannot be written.
        """
        self._put("put_file", str(file), self.text)

    def unlink(self) -> None:
        """Remove a file, if it is there.

        Raises:
            UnreachableError: If it cannot be removed.
        """
        try:
            self._ask("rm_file", self.text)
        except FileNotFoundError:
            return

    def filesystem(self) -> Any:
        """What fsspec speaks to its object store by.

        Raises:
            UnreachableError: If nothing is installed that can.
        """
        try:
            return _filesystem(self.scheme)
        except (ImportError, ValueError) as error:
            extra = EXTRAS.get(self.scheme)
            remedy = f"pip install 'mim3d[{extra}]'" if extra else "name s3://, gs://, https:// or a folder"
            raise UnreachableError(
                f"{self}: nothing is installed that reads there ({error}); {remedy}"
            ) from error

    def _put(self, method: str, *words: Any) -> None:
        """Have a method of fsspec's write; how long that takes is left to it."""
        try:
            self._ask(method, *words, seconds=None)
        except FileNotFoundError as error:
            raise unreached(self, _said(error)) from error

    def _ask(self, method: str, *words: Any, seconds: float | None = PATIENCE, **more: Any) -> Any:
        """What a method of fsspec's says; tried again where fsspec does not do that by itself."""
        with reaching(self):
            for pause in PAUSES if self.scheme in WEB else ():
                try:
                    return _call(self.filesystem(), method, *words, seconds=seconds, **more)
                except (FileNotFoundError, TimeoutError, MimError):
                    raise
                except Exception:  # each library has errors of its own
                    time.sleep(pause)
            return _call(self.filesystem(), method, *words, seconds=seconds, **more)


Place: TypeAlias = Path | Url
"""Where a store, a case or a file is."""
Same = TypeVar("Same", Path, Url, Place)
"""For what gives a place of the kind that it is given."""


def place_of(said: Place | str) -> Place:
    """Where something is that is named by a path or a URL.

    Raises:
        StoreError: If a URL has a password or a signature in it, or was made into a Path.
    """
    if isinstance(said, Url):
        return said
    url = _URL.fullmatch(str(said))
    if url is None:
        if re.match(r"(s3|gs|gcs|https?|memory|file):/", str(said)) and not Path(said).exists():
            raise StoreError(f"{said}: a URL that was made into a Path, which spoils it; give it as text")
        return Path(said)
    scheme = url["scheme"].lower()
    if _SECRET.search(str(said)):
        raise StoreError(
            f"{scheme}://...: a URL with a user, a password or a signature in it, which would get into logs; "
            "leave that out, and give credentials where s3fs or gcsfs look for them (docs/store.md)"
        )
    if scheme == "file":
        return Path("/" + unquote(url["path"]))
    return Url(f"{'gs' if scheme == 'gcs' else scheme}://{url['rest'].rstrip('/')}")


def folder_of(said: Place | str) -> Path:
    """The local folder that a path names, to write a store into.

    Raises:
        StoreError: If it is at a URL.
    """
    place = place_of(said)
    if isinstance(place, Url):
        raise StoreError(
            f"{place}: a store is prepared in a local folder, where a crash cannot leave half a case; then "
            f"`mim3d copy FOLDER {place}` brings it there"
        )
    return place


def name_at(place: Place) -> str:
    """What a store is called: the name of its folder, even of `.`."""
    return place.resolve().name if isinstance(place, Path) else place.name


@lru_cache
def _filesystem(scheme: str) -> Any:
    return fsspec.filesystem(scheme)


def _call(files: Any, method: str, *words: Any, seconds: float | None, **more: Any) -> Any:
    """A method of a filesystem; of one that can be interrupted for so long at most."""
    if files.async_impl:
        return sync(files.loop, getattr(files, f"_{method}"), *words, timeout=seconds, **more)
    return getattr(files, method)(*words, **more)


@contextmanager
def reaching(url: Url) -> Iterator[None]:
    """Say in one line what keeps an object store from answering; a missing file is left to who asked."""
    try:
        yield
    except (FileNotFoundError, MimError):
        raise
    except Exception as error:  # each library has errors of its own
        raise unreached(url, _said(error)) from error


def unreached(place: Place, reason: str) -> UnreachableError:
    """The error for what cannot be read now, but may be there: no damage."""
    return UnreachableError(
        f"{place}: cannot be reached ({reason}); look to the address, the network and your credentials "
        "(docs/store.md), then run the same command again"
    )


def _said(error: Exception) -> str:
    """What an error says, in one short line."""
    if isinstance(error, TimeoutError):
        return f"no answer in {PATIENCE:g} s"
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__
