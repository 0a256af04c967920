"""Is a store what was written? Every file, every chunk of every array, every content hash, and the index."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mim3d.data.arrays import forget_arrays, name_of, open_array, read_view, turned
from mim3d.data.catalog import INDEX, REJECTED, Case, index_of, read_index, read_rejected
from mim3d.data.layout import case_folder, read_description
from mim3d.data.place import Place
from mim3d.data.pool import in_processes
from mim3d.data.seal import case_files, file_hash, seal_holds, sums_of
from mim3d.data.staged import content_of, staged
from mim3d.data.store import read_case
from mim3d.data.store_writer import content_hash
from mim3d.errors import DamageError, StoreError

Progress = Callable[[int, int, int], None]
"""Called with the cases read, all cases, and the places of damage found so far."""


@dataclass(frozen=True, order=True, slots=True)
class Damage:
    """One place where a store is not what was written."""

    case: str
    """Name; empty for what belongs to no case."""
    place: str
    """Array and chunk, or file."""
    what: str

    def __str__(self) -> str:
        return f"{f'case {self.case}: ' if self.case else ''}{self.place}: {self.what}"


@dataclass(frozen=True, slots=True)
class Read:
    """What came of reading one case."""

    name: str
    case: Case | None
    """None if its zarr.json cannot be read."""
    damage: tuple[Damage, ...]
    sealed: bool
    """Whether all of its files have checksums, not only the chunks of its arrays."""
    chunks: int
    size: int
    """Of its files, bytes."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of reading a store."""

    damage: tuple[Damage, ...]
    cases: int
    unsealed: int
    """Cases written before files had checksums: of these, chunks and content alone are checked."""
    chunks: int
    size: int
    """Of the cases' files, bytes."""


def verify_store(
    store: Place, workers: int, on_progress: Progress = lambda _done, _all, _found: None
) -> Verified:
    """Read all of a store, and tell every place where it is not what was written.

    Args:
        store: Where the store is; from a URL each case is fetched once, into a temporary folder.
        workers: Processes, one case each at a time.
        on_progress: See `Progress`.

    Raises:
        StoreError: If there is no store.
        UnreachableError: If its object store cannot be reached.
    """
    damage = list(_own_files(store))
    folders = _folders(store)
    read: dict[str, Read] = {}
    on_progress(0, len(folders), len(damage))
    for one in in_processes(_verify_staged, folders, workers):
        read[one.name] = one
        damage += one.damage
        on_progress(len(read), len(folders), len(damage))
    damage += _index(store, {name: one.case for name, one in read.items()})
    every = read.values()
    return Verified(
        tuple(sorted(damage)),
        len(read),
        sum(not one.sealed for one in every),
        sum(one.chunks for one in every),
        sum(one.size for one in every),
    )


def _folders(store: Place) -> list[Place]:
    """Folders of all cases: of those that are there, at a URL of those in the index."""
    if isinstance(store, Path):
        return [*sorted((store / "cases").glob("*.ome.zarr"))]
    content = content_of(store / INDEX)
    if content is None or seal_holds(content) is False:  # of which `_index` tells
        return []
    return [case_folder(store, name) for name in index_of(content).column("case")]


def _verify_staged(case: Place) -> Read:
    with staged(case) as folder:
        return verify_case(folder)


def verify_case(folder: Path) -> Read:
    """Read all of a case: files and chunks against their sums, voxels against the content hash."""
    forget_arrays()
    name, files = name_of(folder), case_files(folder)
    sums = sums_of(folder)
    case: Case | None = None
    damage: list[Damage] = []
    try:
        case = read_case(folder)
    except StoreError as error:
        damage.append(Damage(name, "zarr.json", str(error).partition(": ")[2].partition(";")[0]))
    arrays = sorted(file.removesuffix("/zarr.json") for file in {*files, *sums} if _is_array(folder, file))
    found = {array: _array(folder, array, sealed=bool(sums)) for array in arrays}
    damaged = {array for array, (_, places) in found.items() if places}
    damage += [one for _, places in found.values() for one in places]
    damage += _files(folder, files, sums, damaged)
    if case is not None and not damage and _content(folder, case) != case.hash:
        damage.append(Damage(name, "content hash", "voxels, labels or spacing are not those that it is of"))
    size = sum((folder / file).stat().st_size for file in files)
    return Read(name, case, tuple(damage), bool(sums), sum(chunks for chunks, _ in found.values()), size)


def _is_array(folder: Path, file: str) -> bool:
    """Whether a zarr.json that is there, or ought to be, describes an array rather than a group."""
    array = folder / Path(file).parent
    is_scale = array.name.isdecimal() and array.parent.name != "labels"
    return file.endswith("/zarr.json") and (is_scale or (array / "c").is_dir())


def _files(folder: Path, files: list[str], sums: Mapping[str, str], damaged: set[str]) -> Iterator[Damage]:
    """Files that are missing, too many or changed, but for those of arrays whose chunks have told already."""
    damage, told = partial(Damage, name_of(folder)), tuple(f"{array}/c/" for array in damaged)
    if not sums:
        return
    for file in sorted({*files, *sums} - {"zarr.json"}):
        if file not in sums:
            yield damage(file, "a file that was not written with the case")
        elif file not in files:
            yield damage(file, "missing")
        elif file_hash(folder / file) != sums[file] and not file.startswith(told):
            yield damage(file, "not what was written (SHA-256)")


def _array(folder: Path, array: str, *, sealed: bool) -> tuple[int, list[Damage]]:
    """Chunks of an array, and the damaged ones; read at once, and chunk by chunk only where that fails."""
    try:
        handle = open_array(folder, array)
    except DamageError:  # of sealed cases the sums of the files will tell
        unsealed = Damage(name_of(folder), f"array {array}", "cannot be opened")
        return 0, [] if sealed else [unsealed]
    counts = [-(-n // s) for n, s in zip(handle.shape, handle.chunk_layout.read_chunk.shape, strict=True)]
    try:
        read_view(folder, array, handle)
    except DamageError:
        return math.prod(counts), _chunks(folder, array, handle, counts)
    return math.prod(counts), []


def _chunks(folder: Path, array: str, handle: Any, counts: list[int]) -> list[Damage]:
    """The chunks of an array that cannot be read: number and place of each, axes X Y Z."""
    side = handle.chunk_layout.read_chunk.shape
    damage = partial(Damage, name_of(folder))
    found = []
    for index in product(*map(range, counts)):
        ends = [min((i + 1) * s, n) for i, s, n in zip(index, side, handle.shape, strict=True)]
        part = tuple(slice(i * s, end) for i, s, end in zip(index, side, ends, strict=True))
        try:
            read_view(folder, array, handle[part])
        except DamageError:
            found.append(damage(_place(array, index, part), "not what was written (crc32c)"))
    if len(found) > 1 and len(found) == math.prod(counts):
        return [damage(f"array {array}", f"none of its {len(found)} chunks can be read (index of the shard)")]
    return found


def _place(array: str, index: tuple[int, ...], part: tuple[slice, ...]) -> str:
    """A chunk in words, axes X Y Z; of a table, which is one chunk, its name."""
    if len(index) < 3:
        return f"array {array}"
    channel = f" of channel {index[0]}" if len(index) > 3 else ""
    voxels = ", ".join(f"{one.start}-{one.stop - 1}" for one in part[:-4:-1])
    return f"array {array}, chunk {index[:-4:-1]}{channel} (voxels {voxels})"


def _content(folder: Path, case: Case) -> str:
    """The content hash of what is stored."""
    labels = {name: _voxels(folder, f"labels/{name}/0") for name in case.labels}
    return content_hash(_voxels(folder, "0"), case.spacing, labels)


def _voxels(folder: Path, array: str) -> NDArray[Any]:
    return turned(read_view(folder, array, open_array(folder, array)))


def _own_files(store: Place) -> Iterator[Damage]:
    """Damage of store.json and of the table of rejected scans."""
    try:
        read_description(store)
    except StoreError:
        file = store / "store.json"
        known = (store / "cases").is_dir() if isinstance(store, Path) else file.is_file()
        if not known or (file.is_file() and seal_holds(file.read_bytes())):
            raise  # no store, or a whole one of another version
        if not file.is_file():
            yield Damage("", "store.json", "missing")
    own = [store / name for name in ("store.json", REJECTED) if (store / name).is_file()]
    changed = {file.name for file in own if seal_holds(file.read_bytes()) is False}
    yield from (Damage("", name, "not what was written (seal)") for name in sorted(changed))
    try:
        read_rejected(store)
    except StoreError:
        if REJECTED not in changed:
            yield Damage("", REJECTED, "cannot be read")


def _index(store: Place, cases: Mapping[str, Case | None]) -> Iterator[Damage]:
    """Where the index and the cases do not agree."""
    local = isinstance(store, Path)
    remedy = "`mim3d prepare` makes it from the cases" if local else "`mim3d copy` brings it"
    if not (store / INDEX).is_file():
        yield Damage("", INDEX, f"missing; {remedy}")
        return
    if seal_holds((store / INDEX).read_bytes()) is False:
        yield Damage("", INDEX, f"not what was written (seal); {remedy}")
        return
    try:
        listed = read_index(store).by_name
    except StoreError:
        yield Damage("", INDEX, f"cannot be read; {remedy}")
        return
    for name in sorted({*cases, *listed}):
        if name not in cases:
            yield Damage(name, INDEX, "lists this case, but it is not in the store")
        elif name not in listed:
            yield Damage(name, INDEX, "does not list this case")
        elif cases[name] is not None and cases[name] != listed[name]:
            yield Damage(name, INDEX, "says otherwise of this case than the case itself")
