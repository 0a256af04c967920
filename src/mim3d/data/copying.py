"""A store from one place to another: what is missing there or differs, whole cases, the catalog last.

Whether a case is there is told by its zarr.json, which is sealed, lists the SHA-256 of all its other files
and is brought after them. What is not in the store, such as STORE.private, is never looked at.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from mim3d.data.alone import alone
from mim3d.data.arrays import name_of
from mim3d.data.catalog import INDEX, REJECTED, index_of
from mim3d.data.layout import PARTIAL, Settings, case_folder, read_description
from mim3d.data.mixture import is_mixture
from mim3d.data.place import WEB, Place, Url
from mim3d.data.seal import seal_holds, sums_in
from mim3d.data.staged import ROOT, checked, content_of, fetch, require_within, staged
from mim3d.data.store_writer import put_in_place
from mim3d.errors import DamageError, StoreError

Result = TypeVar("Result")
Progress = Callable[[int, int, int], None]
"""Called with the cases brought, all that have to be, and the bytes brought."""

AT_ONCE = 1024
"""Tasks handed to the threads together."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What came of copying a store."""

    cases: int
    """Brought now."""
    kept: int
    """That were there already."""
    size: int
    """Of the cases brought, bytes."""


def copy_store(
    source: Place, target: Place, workers: int, on_progress: Progress = lambda _done, _all, _size: None
) -> Copied:
    """Make `target` what `source` is; run again, it does only what is missing.

    Args:
        source: Where the store is.
        target: Where it shall be: a new place, or one that a copy of this store was begun in.
        workers: Cases brought at a time, by a thread each.
        on_progress: See `Progress`.

    Raises:
        DamageError: If cases are not what was written; the others are brought, the catalog is not.
        StoreError: If there is no store, or the target holds something else.
        UnreachableError: If either cannot be reached.
    """
    index, names, settings = _to_copy(source)
    _require_ours(source, target, settings, names)
    with _alone_in(target), ThreadPoolExecutor(workers) as pool:
        _bring_own(source, target, "store.json")
        _bring_own(source, target, REJECTED)
        there = list(_each(pool, partial(_state, source, target), names))
        lacking = [name for name, same in zip(names, there, strict=True) if same is not True]
        if False in there and isinstance(target, Url):  # nobody may begin to read what is being replaced
            (target / INDEX).unlink()
        size, damaged = 0, []
        on_progress(0, len(lacking), 0)
        for done, came in enumerate(_each(pool, partial(_bring, source, target), lacking), start=1):
            if isinstance(came, DamageError):
                damaged.append(came)
            else:
                size += came
            on_progress(done, len(lacking), size)
        if damaged:
            raise DamageError(
                f"{len(damaged)} of {len(names)} cases and the catalog not copied; first {damaged[0]}"
            )
        _write(target / INDEX, index)
    return Copied(len(lacking), len(names) - len(lacking), size)


def _to_copy(source: Place) -> tuple[bytes, Sequence[str], Settings]:
    """The catalog's file as it is now, the cases that it lists, and what they share."""
    if is_mixture(source):
        raise StoreError(f"{source}: a mixture, but a store is needed; copy its stores one by one")
    settings, _ = read_description(source)
    index = content_of(source / INDEX)
    if index is None:
        raise StoreError(
            f"{source}: no {INDEX} there, so not whole; end the preparation or copy that makes it"
        )
    names = index_of(index).column("case")
    for name in names:
        require_within(source, name)
    return index, names, settings


def _require_ours(source: Place, target: Place, settings: Settings, names: Sequence[str]) -> None:
    """Refuse a target that cannot be written, or holds something other than a copy of this store.

    Raises:
        StoreError: If so.
    """
    if isinstance(target, Url) and target.scheme in WEB:
        raise StoreError(f"{target}: a web server, which cannot be written to; name s3://, gs:// or a folder")
    if isinstance(target, Path):
        _require_free(target)
    if source == target or _same_folder(source, target):
        raise StoreError(f"{target}: is the store itself; name another place")
    if isinstance(source, Path) and isinstance(target, Path) and source.resolve() in target.resolve().parents:
        raise StoreError(f"{target}: lies within the store; name a place outside of it")
    if not (target / "store.json").is_file():
        return
    theirs, _ = read_description(target)
    index = content_of(target / INDEX)
    others = [] if index is None or not seal_holds(index) else index_of(index).column("case")
    more = sorted(set(others) - set(names))
    if theirs != settings or more:
        why = f"case {more[0]} is not in {source}" if more else "it has another spacing"
        raise StoreError(
            f"{target}: holds another store ({why}); name a new place, or delete that store first"
        )


def _same_folder(one: Place, other: Place) -> bool:
    return isinstance(one, Path) and isinstance(other, Path) and one.resolve() == other.resolve()


def _require_free(target: Path) -> None:
    """Refuse what is no folder, a folder of something else, and a store that grows by itself."""
    whole = target.resolve()
    if whole.with_name(f"{whole.name}.private").exists():
        raise StoreError(f"{target}: a store that `mim3d prepare` writes; name a new folder")
    held = [path.name for path in target.iterdir()] if target.is_dir() else []
    if target.is_file() or ("store.json" not in held and set(held) - {PARTIAL}):
        raise StoreError(f"{target}: holds something else than a store; name a new folder")


def _bring_own(source: Place, target: Place, name: str) -> None:
    """Bring a file of the store itself, if it is there and differs."""
    content = content_of(source / name)
    if content is None:
        return
    if seal_holds(content) is False:
        raise DamageError(f"{source}: {name} is not what was written (seal); run `mim3d verify` on it")
    _write(target / name, content)


def _state(source: Place, target: Place, name: str) -> bool | None:
    """Whether the target has the same case; None: it has none of that name."""
    theirs = content_of(case_folder(target, name) / ROOT)
    return None if theirs is None else theirs == content_of(case_folder(source, name) / ROOT)


def _bring(source: Place, target: Place, name: str) -> int | DamageError:
    """Bring one case: how many bytes that were, or what is wrong with it."""
    ours = case_folder(source, name)
    try:
        if isinstance(target, Path):
            return _into_folder(ours, case_folder(target, name), target / PARTIAL / f"{name}-{os.getpid()}")
        return _into_url(ours, case_folder(target, name))
    except DamageError as error:
        return error


def _into_folder(case: Place, final: Path, aside: Path) -> int:
    """Bring a case aside, and move it to its place."""
    fetch(case, aside)
    files = checked(aside, case)
    size = sum((aside / file).stat().st_size for file in (ROOT, *files))
    put_in_place(aside, final)
    return size


def _into_url(case: Place, final: Url) -> int:
    """Bring a case, its zarr.json last; while it is replaced it has none, so that nobody reads half of it."""
    with staged(case) as folder:
        root, files = content_of(folder / ROOT), checked(folder, case)
        old = content_of(final / ROOT)
        if old is not None:
            (final / ROOT).unlink()
        for file in files:
            (final / file).take(folder / file)
        for file in sums_in(old or b"").keys() - files.keys():
            (final / file).unlink()
        if root is None or content_of(folder / ROOT) != root:
            raise DamageError(f"case {name_of(case)}: made anew while it was copied; copy again")
        (final / ROOT).write_bytes(root)
        return len(root) + sum((folder / file).stat().st_size for file in files)


def _each(pool: ThreadPoolExecutor, work: Callable[[str], Result], names: Sequence[str]) -> Iterator[Result]:
    """What `work` makes of each name, in their order; not all of hundreds of thousands are queued."""
    for first in range(0, len(names), AT_ONCE):
        yield from pool.map(work, names[first : first + AT_ONCE])


@contextmanager
def _alone_in(target: Place) -> Iterator[None]:
    """Hold the right to write into a folder, and clear away what is left aside there; of a URL do nothing."""
    if not isinstance(target, Path):
        yield
        return
    (target / PARTIAL).mkdir(parents=True, exist_ok=True)
    with alone(target, target / PARTIAL):
        for left in (target / PARTIAL).glob("*-*"):
            shutil.rmtree(left)
        try:
            yield
        finally:
            shutil.rmtree(target / PARTIAL)


def _write(place: Place, content: bytes) -> None:
    """Write a file whole or not at all, unless it is there as it shall be."""
    if content_of(place) == content:
        return
    if isinstance(place, Url):
        place.write_bytes(content)
        return
    aside = place.with_name(f".{os.getpid()}-{place.name}")
    aside.write_bytes(content)
    os.replace(aside, place)
